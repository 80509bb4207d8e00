// What logging costs, printed for people (nothing is asserted about time), and how large the files become.
#include <array>
#include <cstdio>

#include <gtest/gtest.h>

#include "core/timer.h"
#include "random_tree.h"
#include "store/bench.h"
#include "store/part_writer.h"
#include "store/readers.h"

namespace deepsearch {
namespace {

using namespace store_test;  // NOLINT: the tests' own helpers

// Numbers as a search makes them: a tree of `n_nodes` nodes with steps of `step_tokens` tokens.
TreeRecord typical_tree(RandomStream& rng, int n_nodes, int step_tokens, const Problem& problem) {
  TreeRecord tree;
  tree.problem = problem;
  tree.key.problem_key = problem.key;
  for (int id = 0; id < n_nodes; ++id) {
    NodeRecord node;
    node.parent = id == 0 ? -1 : static_cast<int32_t>(rng.below(static_cast<uint64_t>(id)));
    node.depth = id == 0 ? 0 : tree.nodes[static_cast<size_t>(node.parent)].depth + 1;
    node.first_token = static_cast<int32_t>(tree.tokens.size());
    node.n_tokens = id == 0 ? 0 : step_tokens;
    node.visits = static_cast<int32_t>(rng.below(9));
    node.value = rng.uniform();
    node.entropy = rng.uniform();
    node.logprob = -5 * rng.uniform();
    node.terminal = id % 4 == 3;
    node.created = id / 4;
    for (int i = 0; i < node.n_tokens; ++i) {
      tree.tokens.push_back(static_cast<Token>(rng.below(60)));
      tree.logprobs.push_back(static_cast<float>(-rng.uniform()));
      tree.token_versions.push_back(1);
      tree.entropies.push_back(static_cast<float>(rng.uniform()));
    }
    tree.nodes.push_back(node);
  }
  for (int i = 0; i < 8 && i < n_nodes; ++i) tree.recorded.push_back({i, 1.0, 0.5, Outcome::kWrong, false});
  for (int i = 0; i < n_nodes / 2; ++i) tree.events.push_back({i, EventKind::kExpand, i, 4.0});
  return tree;
}

struct Shape {
  const char* name;
  int n_nodes;
  int step_tokens;
  int n_trees;
  int flush_every;  // trees; 0: at the end only
};

class CostOfTrees : public StoreTest, public ::testing::WithParamInterface<Shape> {};

TEST_P(CostOfTrees, IsPrinted) {
  const Shape shape = GetParam();
  RandomStream rng(1, RngPurpose::kTests, 2);
  std::vector<Problem> problems;
  for (int i = 0; i < 64; ++i) problems.push_back(random_problem(rng));
  std::vector<TreeRecord> trees;
  for (const Problem& problem : problems) {
    trees.push_back(typical_tree(rng, shape.n_nodes, shape.step_tokens, problem));
  }
  const auto path = folder_ / "cost.h5";
  const double cpu_before = cpu_seconds();
  PartWriter writer(path, some_info(), 0, {.flush_seconds = 1e9});
  const double opening = writer.seconds_spent();
  for (int i = 0; i < shape.n_trees; ++i) {
    writer.append(trees[static_cast<size_t>(i) % trees.size()]);
    if (shape.flush_every > 0 && (i + 1) % shape.flush_every == 0) writer.flush();
  }
  writer.close();
  const double cpu = cpu_seconds() - cpu_before;
  const auto bytes = static_cast<double>(std::filesystem::file_size(path));
  std::printf("%-28s %6d trees: opening %5.1f ms, %8.1f us a tree (CPU %8.1f us), %9.0f bytes a tree\n", shape.name,
              shape.n_trees, opening * 1e3, (writer.seconds_spent() - opening) * 1e6 / shape.n_trees,
              cpu * 1e6 / shape.n_trees, bytes / shape.n_trees);
  EXPECT_EQ(PartReader(path).n_trees(), shape.n_trees);
  // Without early flushes a file is no larger than its numbers.
  const double raw = static_cast<double>(shape.n_nodes) * (80.0 + 12.0 * shape.step_tokens) + 2000.0;
  if (shape.flush_every == 0) {
    EXPECT_LT(bytes / shape.n_trees, raw + 2e6 / shape.n_trees);
  }
}

// The limits that were set for the format: bytes a token at the default precision, and memory, for large trees too.
TEST_F(StoreTest, TokensAndMemoryStayWithinTheirLimits) {
  for (const auto& [trees, nodes, step_tokens] : {std::array{20, 1000, 10}, std::array{1, 10000, 40}}) {
    const StoreBenchResult result = bench_store(
        {.folder = folder_, .trees = trees, .nodes = nodes, .step_tokens = step_tokens, .part = {.mantissa_bits = 12}});
    EXPECT_LE(result.token_bytes + result.version_bytes, 8.0);
    EXPECT_GT(result.token_bytes, 4.0);  // ids alone have ten bits of entropy
    EXPECT_LT(result.memory_bytes, 64e6);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CostOfTrees,
                         ::testing::Values(Shape{"50 nodes of 5", 50, 5, 4000, 0},
                                           Shape{"50 nodes of 5, flush per 100", 50, 5, 4000, 100},
                                           Shape{"50 nodes of 5, flush per 10", 50, 5, 1000, 10},
                                           Shape{"1500 nodes of 64", 1500, 64, 60, 0},
                                           Shape{"1500 nodes of 64, flush each", 1500, 64, 60, 1}),
                         [](const auto& shape) { return fmt::format("shape{}", shape.index); });

}  // namespace
}  // namespace deepsearch
