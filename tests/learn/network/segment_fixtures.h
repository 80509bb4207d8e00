// Random trees of segments and dense masks, shared by the network's tests.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "core/rng.h"
#include "learn/network/segments.h"

namespace deepsearch {

// `n` segments of 1 … longest tokens. Depth-first when asked for: a parent is an ancestor of the segment before, or it
// (or none); otherwise any earlier one.
inline std::vector<Segment> random_segments(RandomStream& random, int n, int longest, bool depth_first = true) {
  std::vector<Segment> segments;
  int32_t first = 0;
  for (int i = 0; i < n; ++i) {
    int32_t parent = -1;
    if (i > 0 && depth_first) {
      parent = i - 1;
      while (parent >= 0 && random.below(3) == 0) parent = segments[static_cast<size_t>(parent)].parent;
    } else if (i > 0) {
      parent = static_cast<int32_t>(random.below(static_cast<uint64_t>(i) + 1)) - 1;
    }
    const auto count = static_cast<int32_t>(1 + random.below(static_cast<uint64_t>(longest)));
    segments.push_back({.parent = parent, .first = first, .count = count});
    first += count;
  }
  return segments;
}

inline int64_t tokens_of(const std::vector<Segment>& segments) {
  return segments.back().first + segments.back().count;
}

// [T, T] bool: who sees whom, token by token from the words of segments.h.
inline at::Tensor dense_mask(const std::vector<Segment>& segments) {
  const int64_t n = tokens_of(segments);
  at::Tensor mask = at::zeros({n, n}, at::kBool);
  auto* seen = mask.mutable_data_ptr<bool>();
  for (const Segment& segment : segments) {
    for (int32_t i = 0; i < segment.count; ++i) {
      bool* row = seen + (segment.first + i) * n;
      for (int32_t j = 0; j <= i; ++j) row[segment.first + j] = true;
      for (int32_t up = segment.parent; up >= 0; up = segments[static_cast<size_t>(up)].parent) {
        const Segment& ancestor = segments[static_cast<size_t>(up)];
        for (int32_t j = 0; j < ancestor.count; ++j) row[ancestor.first + j] = true;
      }
    }
  }
  return mask;
}

// [T]: of each token in its text.
inline at::Tensor path_positions(const std::vector<Segment>& segments) {
  return dense_mask(segments).sum(1) - 1;
}

}  // namespace deepsearch
