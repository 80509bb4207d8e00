// What a tree costs beside its tokens: the time of an expansion by the size of the tree, with a generator that takes
// none. The measure behind `deepsearch bench tree`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "search/params.h"

namespace deepsearch {

struct TreeBenchParams {
  std::vector<int64_t> sizes = {100, 1000, 10000, 100000};  // nodes, ascending
  int64_t width = 8;
  int64_t step_tokens = 16;
  int64_t max_depth = 64;
};

struct TreeBenchRow {
  std::string rule;
  int64_t nodes = 0;     // that the tree has
  int64_t frontier = 0;  // of them, candidates of the next selection
  // Seconds of one expansion, all of it: selection, request, nodes, judgement, backup; the mean of those that brought
  // the tree from nine tenths of the size to it.
  double expansion_seconds = 0;
  double select_seconds = 0;  // of the selection alone, with its listing
  double walk_seconds = 0;    // of the published way: all nodes visited, and every one of them scored
};

// Grows a tree to each size under each of the three orders (frontier, deepest, uct), one after the other, on one core.
// The walk must choose the node that the selection chooses; throws failure otherwise.
std::vector<TreeBenchRow> bench_tree(const TreeBenchParams& params);

}  // namespace deepsearch
