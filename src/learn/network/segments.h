// How tokens of a packed batch hang together. Pure: no LibTorch.
//
// A batch is one flat run of tokens, cut into segments: runs of consecutive tokens that continue their parent segment.
// A token attends to itself, to the tokens before it in its segment, and to all tokens of its segment's ancestors. A
// lone row is a segment without parent; a tree's nodes, or rows that begin alike, are a tree of segments.
#pragma once

#include <cstdint>

namespace deepsearch {

struct Segment {
  int32_t parent = -1;  // index of an earlier segment; −1: begins a text of its own
  int32_t first = 0;    // of its tokens; segments follow each other without gaps
  int32_t count = 0;    // ≥ 1
};

}  // namespace deepsearch
