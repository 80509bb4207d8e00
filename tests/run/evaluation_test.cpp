#include "run/evaluation.h"

#include <gtest/gtest.h>

namespace deepsearch {
namespace {

// Brute force: the share of k-subsets of n samples, c of them correct, that hold a correct one.
double brute_force(int n, int c, int k) {
  int subsets = 0;
  int with_correct = 0;
  for (unsigned bits = 0; bits < (1U << n); ++bits) {
    if (__builtin_popcount(bits) != k) continue;
    ++subsets;
    with_correct += (bits & ((1U << c) - 1)) != 0 ? 1 : 0;
  }
  return static_cast<double>(with_correct) / subsets;
}

TEST(PassAtK, IsTheShareOfSubsetsWithACorrectSample) {
  for (int n = 1; n <= 8; ++n) {
    for (int c = 0; c <= n; ++c) {
      for (int k = 1; k <= n; ++k) EXPECT_NEAR(pass_at_k(n, c, k), brute_force(n, c, k), 1e-12) << n << c << k;
    }
  }
}

TreeRecord group_of(const std::vector<Outcome>& outcomes) {
  TreeRecord group;
  group.kind = RecordKind::kRollouts;
  group.nodes.resize(1);
  for (const Outcome outcome : outcomes) {
    group.nodes.push_back({.parent = 0, .depth = 1, .n_tokens = 4, .terminal = true, .outcome = outcome});
    group.recorded.push_back({.leaf = static_cast<int32_t>(group.nodes.size()) - 1,
                              .reward = outcome == Outcome::kCorrect ? 1.0 : -1.0,
                              .entropy = 0.5,
                              .outcome = outcome});
  }
  return group;
}

TEST(Evaluation, MeansOverProblems) {
  using enum Outcome;
  const Evaluation result =
      evaluate({group_of({kCorrect, kWrong, kWrong, kWrong}), group_of({kWrong, kWrong, kIncomplete, kWrong})}, 16);
  EXPECT_EQ(result.problems, 2);
  EXPECT_EQ(result.samples, 4);
  EXPECT_EQ(result.k, 4);
  EXPECT_DOUBLE_EQ(result.pass_at_1, 0.125);
  EXPECT_DOUBLE_EQ(result.pass_at_k, 0.5);
  EXPECT_DOUBLE_EQ(result.truncated_fraction, 0.125);
  EXPECT_DOUBLE_EQ(result.response_tokens_mean, 4);
}

}  // namespace
}  // namespace deepsearch
