#include "search/rescue.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "search/credit.h"

namespace deepsearch {
namespace {

// Adds a node of `tokens` below `parent`; with an outcome it is a terminal that is recorded.
int32_t add(TreeRecord& record, int32_t parent, const std::vector<Token>& tokens, Outcome outcome = Outcome::kNone) {
  NodeRecord node;
  node.parent = parent;
  node.depth = record.nodes[static_cast<size_t>(parent)].depth + 1;
  node.first_token = static_cast<int32_t>(record.tokens.size());
  node.n_tokens = static_cast<int32_t>(tokens.size());
  node.terminal = outcome != Outcome::kNone;
  node.outcome = outcome;
  for (const Token token : tokens) {
    record.tokens.push_back(token);
    record.logprobs.push_back(-0.25F * static_cast<float>(token));
    record.entropies.push_back(0.5F);
    record.token_versions.push_back(3);
  }
  record.nodes.push_back(node);
  const auto id = static_cast<int32_t>(record.nodes.size()) - 1;
  if (node.terminal) {
    record.recorded.push_back(
        {.leaf = id, .reward = outcome == Outcome::kCorrect ? 1.0 : -1.0, .entropy = 0.5, .outcome = outcome});
  }
  return id;
}

TreeRecord record_of(RecordKind kind) {
  TreeRecord record;
  record.kind = kind;
  record.key.step = 7;
  record.policy_version = 3;
  record.nodes.resize(1);
  return record;
}

struct Pair {
  TreeRecord rollouts = record_of(RecordKind::kRollouts);
  TreeRecord tree = record_of(RecordKind::kTree);
  Pair() {
    add(rollouts, 0, {4, 5}, Outcome::kWrong);
    add(rollouts, 0, {4, 6}, Outcome::kWrong);
    add(tree, 0, {1}, Outcome::kWrong);
    const int32_t first = add(tree, 0, {2, 3});
    add(tree, first, {9}, Outcome::kWrong);
    add(tree, first, {7, 8}, Outcome::kCorrect);
  }
};

TEST(Rescue, SolutionsJoinTheRolloutsWithTheirOwnTokens) {
  const Pair pair;
  const TreeRecord group = rescued_group(pair.rollouts, pair.tree);
  EXPECT_EQ(group.kind, RecordKind::kRollouts);
  ASSERT_EQ(group.recorded.size(), 3U);
  EXPECT_EQ(trajectory_tokens(group, group.recorded[1].leaf), (std::vector<Token>{4, 6}));
  const int32_t leaf = group.recorded[2].leaf;
  EXPECT_EQ(trajectory_tokens(group, leaf), (std::vector<Token>{2, 3, 7, 8}));
  EXPECT_EQ(group.recorded[2].outcome, Outcome::kCorrect);
  ASSERT_EQ(path_to(group, leaf).size(), 2U);  // steps stay steps
  for (const int32_t id : path_to(group, leaf)) {
    const NodeRecord& node = group.nodes[static_cast<size_t>(id)];
    for (int32_t i = node.first_token; i < node.first_token + node.n_tokens; ++i) {
      const auto at = static_cast<size_t>(i);
      EXPECT_EQ(group.logprobs[at], -0.25F * static_cast<float>(group.tokens[at]));
      EXPECT_EQ(group.token_versions[at], 3);
    }
  }
  EXPECT_EQ(group.tokens.size(), 8U);  // the tree's other tokens stay behind
}

TEST(Rescue, CreditIsThatOfAGroupInWhichTheSolutionWasSampled) {
  const Pair pair;
  CreditParams params;
  params.overlong = Overlong::kNone;
  const std::vector<TrajectoryCredit> group = credit_of(rescued_group(pair.rollouts, pair.tree), params);
  ASSERT_EQ(group.size(), 3U);
  for (const double advantage : per_token(group[0])) EXPECT_DOUBLE_EQ(advantage, -1 + 1.0 / 3);
  ASSERT_EQ(per_token(group[2]).size(), 4U);
  for (const double advantage : per_token(group[2])) EXPECT_DOUBLE_EQ(advantage, 1 + 1.0 / 3);
}

TEST(Rescue, WithoutASolutionTheGroupStaysAsItWas) {
  Pair pair;
  pair.tree.recorded.pop_back();
  const TreeRecord group = rescued_group(pair.rollouts, pair.tree);
  EXPECT_EQ(group.nodes.size(), pair.rollouts.nodes.size());
  EXPECT_EQ(group.recorded.size(), 2U);
  pair.tree.key.step = 8;
  EXPECT_THROW(rescued_group(pair.rollouts, pair.tree), Error);
}

}  // namespace
}  // namespace deepsearch
