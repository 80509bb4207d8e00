#include "rounds/replay_group.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "search/credit.h"

namespace deepsearch {
namespace {

using ::testing::ElementsAre;

ScoredSolution solution(std::vector<Token> tokens) {
  ScoredSolution scored;
  for (size_t i = 0; i < tokens.size(); ++i) {
    scored.logprobs.push_back(-0.5F * static_cast<float>(i + 1));
    scored.entropies.push_back(0.25F);
  }
  scored.tokens = std::move(tokens);
  return scored;
}

// A wrong rollout of two steps.
TreeRecord sampled() {
  TreeRecord record;
  record.kind = RecordKind::kRollouts;
  record.key.problem_index = 4;
  record.nodes.resize(3);
  record.nodes[0].visits = 1;
  record.nodes[0].value = -1;
  record.nodes[1] = {.parent = 0, .depth = 1, .first_token = 0, .n_tokens = 2, .visits = 1, .value = -1};
  record.nodes[2] = {.parent = 1,
                     .depth = 2,
                     .first_token = 2,
                     .n_tokens = 1,
                     .visits = 1,
                     .value = -1,
                     .terminal = true,
                     .outcome = Outcome::kWrong};
  record.tokens = {20, 21, 22};
  record.logprobs = {-1, -2, -3};
  record.entropies = {1, 1, 1};
  record.token_versions = {6, 6, 6};
  record.recorded = {{.leaf = 2, .reward = -1, .entropy = 1, .outcome = Outcome::kWrong}};
  record.tokens_generated = 3;
  record.stop_reason = StopReason::kEnough;
  return record;
}

const SearchParams kSteps = {.step_tokens = 2};

TEST(ReplayGroup, CachedSolutionsComeFirst) {
  const TreeRecord group = make_replay_group(sampled(), {solution({1, 2, 3}), solution({4})}, kSteps, 6);
  EXPECT_EQ(group.kind, RecordKind::kReplay);
  EXPECT_EQ(group.key.problem_index, 4);
  EXPECT_EQ(group.tokens_generated, 3);
  EXPECT_EQ(group.policy_version, 6);
  ASSERT_EQ(group.recorded.size(), 3U);
  EXPECT_THAT(trajectory_tokens(group, group.recorded[0].leaf), ElementsAre(1, 2, 3));
  EXPECT_THAT(trajectory_tokens(group, group.recorded[1].leaf), ElementsAre(4));
  EXPECT_THAT(trajectory_tokens(group, group.recorded[2].leaf), ElementsAre(20, 21, 22));
  EXPECT_TRUE(group.recorded[0].cached && group.recorded[1].cached && !group.recorded[2].cached);
  EXPECT_EQ(group.recorded[2].outcome, Outcome::kWrong);
  EXPECT_THAT(group.logprobs, ElementsAre(-0.5F, -1, -1.5F, -0.5F, -1, -2, -3));
  EXPECT_THAT(group.token_versions, ElementsAre(6, 6, 6, 6, 6, 6, 6));
  EXPECT_EQ(group.nodes[0].visits, 3);
  EXPECT_EQ(group.nodes[0].value, 1);
  EXPECT_DOUBLE_EQ(group.nodes[1].logprob, -1.5);
  for (size_t id = 1; id < group.nodes.size(); ++id) {
    const NodeRecord& node = group.nodes[id];
    ASSERT_TRUE(node.parent >= 0 && node.parent < static_cast<int32_t>(id));
    EXPECT_EQ(node.depth, group.nodes[static_cast<size_t>(node.parent)].depth + 1);
  }
  EXPECT_EQ(cached_tokens(group), 4);
}

TEST(ReplayGroup, CachedSolutionsMayFillIt) {
  TreeRecord nothing;
  nothing.key.step = 9;
  const TreeRecord group = make_replay_group(nothing, {solution({1, 2, 3})}, kSteps, 2);
  EXPECT_EQ(group.stop_reason, StopReason::kEnough);
  EXPECT_EQ(group.nodes.size(), 3U);
  EXPECT_EQ(group.key.step, 9);
  EXPECT_EQ(group.recorded.size(), 1U);
  EXPECT_EQ(group.token_versions.size(), 3U);
  EXPECT_THROW(make_replay_group(nothing, {{.tokens = {1}, .logprobs = {}, .entropies = {}}}, kSteps, 2), Error);
}

// Group-relative, the mean only, whatever [learn] has for trees; dropped trajectories are out of the group.
TEST(ReplayGroup, AdvantagesAreTheGroupsWhateverTreesHave) {
  TreeRecord group = make_replay_group(sampled(), {solution({1, 2, 3}), solution({4})}, kSteps, 6);
  for (const Credit credit : {Credit::kNode, Credit::kOutcome, Credit::kSubtree, Credit::kEdge}) {
    const CreditParams params = {.credit = credit, .advantage_norm = AdvantageNorm::kMeanStd};
    const std::vector<TrajectoryCredit> credits = credit_of(group, params);
    ASSERT_EQ(credits.size(), 3U);
    EXPECT_NEAR(credits[0].advantages.at(0), 1 - 1.0 / 3, 1e-12);
    EXPECT_NEAR(credits[1].advantages.at(0), 1 - 1.0 / 3, 1e-12);
    EXPECT_NEAR(credits[2].advantages.at(1), -1 - 1.0 / 3, 1e-12);
    EXPECT_FALSE(is_uniform(group, params));
  }
  const CreditParams overlong = {.overlong_buffer = 2, .response_budget = 3};
  const std::vector<TrajectoryCredit> credits = credit_of(group, overlong);
  const double mean = (1 - 1 + 1 - 1 - 1) / 3.0;  // those of three tokens have a penalty of 1
  EXPECT_NEAR(credits[0].advantages.at(0), 0 - mean, 1e-12);
  EXPECT_NEAR(credits[1].advantages.at(0), 1 - mean, 1e-12);
  EXPECT_NEAR(credits[2].advantages.at(0), -2 - mean, 1e-12);

  group.recorded[2].dropped = Dropped::kRepetition;
  group.nodes[static_cast<size_t>(group.recorded[2].leaf)].dropped = true;
  for (const Terminals terminals : {Terminals::kRecorded, Terminals::kAll}) {
    EXPECT_EQ(credit_of(group, {.terminals = terminals}).size(), 2U);
    EXPECT_TRUE(is_uniform(group, {.terminals = terminals}));
  }
}

}  // namespace
}  // namespace deepsearch
