#include "measure/tree_bench.h"

#include <gtest/gtest.h>

namespace deepsearch {
namespace {

TEST(TreeBench, EveryOrderReachesEverySize) {
  // It compares each selection with a walk over the whole tree itself, and throws where they differ.
  const TreeBenchParams params{.sizes = {50, 400}, .width = 4, .step_tokens = 2, .max_depth = 16};
  const std::vector<TreeBenchRow> rows = bench_tree(params);
  ASSERT_EQ(rows.size(), 6);
  for (size_t i = 0; i < rows.size(); ++i) {
    const TreeBenchRow& row = rows[i];
    EXPECT_EQ(row.rule, std::vector<std::string>({"frontier", "deepest", "uct"})[i / 2]);
    EXPECT_GE(row.nodes, params.sizes[i % 2]);
    EXPECT_LT(row.nodes, params.sizes[i % 2] + params.width * (params.max_depth + 1));
    EXPECT_GT(row.frontier, 0);
    EXPECT_LT(row.frontier, row.nodes);
    EXPECT_GT(row.expansion_seconds, 0);
    EXPECT_GT(row.select_seconds, 0);
    EXPECT_GT(row.walk_seconds, 0);
  }
}

TEST(TreeBench, ASizeThatCannotBeReachedHasNoRow) {
  // Two children of a root that may have no children of their own.
  const std::vector<TreeBenchRow> rows = bench_tree({.sizes = {2, 1000}, .width = 2, .step_tokens = 1, .max_depth = 1});
  EXPECT_EQ(rows.size(), 3);
}

}  // namespace
}  // namespace deepsearch
