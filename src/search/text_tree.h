// A finished tree as text for people: one line a node, indented by depth. Used by `deepsearch inspect`.
#pragma once

#include <functional>
#include <string>

#include "data/tokens.h"
#include "data/tree_record.h"

namespace deepsearch {

struct TextTreeOptions {
  int64_t max_nodes = 2000;  // further nodes are counted, not shown; 0: no limit
  int64_t max_text = 80;     // bytes of a node's text, cut at a character; 0: no limit
};

// A header, the problem, then every node in depth-first order:
//
//   #4 d2  N 3  Q -0.333  q -1.000  H 1.204  it 1>2  wrong  [2nd]  | 3 + 4 7 ;
//
// N visits, Q = q/N, H mean token entropy in nats, "it 1>2" made in iteration 1 and first expanded in 2, the verdict of
// a terminal, and its place among the recorded trajectories ("*": a leftover that filled a place). `decode` turns a
// node's tokens into text; line breaks are shown as ⏎.
std::string text_tree(const TreeRecord& record, const std::function<std::string(TokenSpan)>& decode,
                      const TextTreeOptions& options = {});

}  // namespace deepsearch
