// Credit beyond the golden cases: groups of a record, values, uniform groups.
#include "search/credit.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "search/grow.h"

namespace deepsearch::testing {

namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;

struct Row {
  int32_t parent;
  std::vector<Token> tokens;
  double q;
  Outcome outcome = Outcome::kNone;
};

TreeRecord record_of(const std::vector<Row>& rows, const std::vector<int32_t>& recorded) {
  TreeRecord record;
  record.nodes.emplace_back();
  for (const Row& row : rows) {
    NodeRecord node;
    node.parent = row.parent;
    node.depth = record.nodes[static_cast<size_t>(row.parent)].depth + 1;
    node.first_token = static_cast<int32_t>(record.tokens.size());
    node.n_tokens = static_cast<int32_t>(row.tokens.size());
    node.value = row.q;
    node.terminal = row.outcome != Outcome::kNone;
    node.outcome = row.outcome;
    record.tokens.insert(record.tokens.end(), row.tokens.begin(), row.tokens.end());
    record.nodes.push_back(node);
  }
  for (const int32_t leaf : recorded) {
    const NodeRecord& node = record.nodes[static_cast<size_t>(leaf)];
    record.recorded.push_back(
        {.leaf = leaf, .reward = node.value, .entropy = 0, .outcome = node.outcome, .leftover = false});
  }
  return record;
}

// Root – 1 – {3 correct, 4 wrong}, root – 2 – {5 wrong, 6 incomplete}.
TreeRecord two_branches() {
  return record_of({{0, {10, 11}, 0.5},
                    {0, {12}, -0.5},
                    {1, {13}, 1, Outcome::kCorrect},
                    {1, {14}, 0, Outcome::kWrong},
                    {2, {15}, -1, Outcome::kWrong},
                    {2, {16, 17, 18}, 0, Outcome::kIncomplete}},
                   {3, 5});
}

TEST(Credit, NodeScoresOfTheRecordedOnes) {
  const auto group = credit_of(two_branches(), {});
  ASSERT_EQ(2U, group.size());
  EXPECT_EQ(3, group[0].leaf);
  EXPECT_THAT(group[0].scores, ElementsAre(DoubleEq(std::tanh(0.5)), DoubleEq(1)));
  EXPECT_THAT(group[1].advantages, ElementsAre(DoubleEq(std::tanh(-0.5)), DoubleEq(-1)));  // the mean is 0
  EXPECT_THAT(per_token(group[0]), ElementsAre(std::tanh(0.5), std::tanh(0.5), 1));
}

TEST(Credit, AllTerminalsFormTheGroupByNodeNumber) {
  CreditParams params;
  params.terminals = Terminals::kAll;
  params.incomplete_reward = -0.5;
  const auto group = credit_of(two_branches(), params);
  ASSERT_EQ(4U, group.size());
  std::vector<double> rewards;
  for (size_t i = 0; i < group.size(); ++i) {
    EXPECT_EQ(static_cast<int32_t>(i) + 3, group[i].leaf);
    rewards.push_back(group[i].scores.back());
  }
  EXPECT_THAT(rewards, ElementsAre(1, -1, -1, -0.5));
  EXPECT_DOUBLE_EQ(1 + 1.5 / 4, group[0].advantages.back());
}

TEST(Credit, OutcomeScoresGiveEveryTokenTheSame) {
  CreditParams params;
  params.credit = Credit::kOutcome;
  for (const auto& trajectory : credit_of(two_branches(), params)) {
    for (const double advantage : per_token(trajectory)) {
      EXPECT_EQ(trajectory.outcome == Outcome::kCorrect ? 1.0 : -1.0, advantage);
    }
  }
}

TEST(Credit, RolloutsAreGroupRelative) {
  const RuleVerifier verifier = hashed_verifier();
  TreeRecord record = two_branches();
  record.kind = RecordKind::kRollouts;
  for (const Credit credit : {Credit::kNode, Credit::kOutcome}) {
    CreditParams params;
    params.credit = credit;
    const auto group = credit_of(record, params);
    EXPECT_THAT(group[0].advantages, ElementsAre(1, 1));
    EXPECT_THAT(group[1].advantages, ElementsAre(-1, -1));
  }
}

TEST(Credit, OverlongPenaltyGrowsOverTheBuffer) {
  SearchParams search;
  search.max_depth = 10;
  search.step_tokens = 10;
  CreditParams params;
  params.overlong_buffer = 20;
  params.overlong_penalty = 0.5;
  EXPECT_EQ(0, overlong_penalty(100, params)) << "the budget is not resolved yet";
  params = resolved(params, search);
  EXPECT_EQ(100, params.response_budget);
  EXPECT_EQ(0, overlong_penalty(80, params));
  EXPECT_DOUBLE_EQ(-0.25, overlong_penalty(90, params));
  EXPECT_DOUBLE_EQ(-0.5, overlong_penalty(100, params));
  params.overlong_buffer = 0;
  EXPECT_EQ(0, overlong_penalty(100, params));
}

TEST(Credit, OverlongIsPenaltyFilterOrNothing) {
  CreditParams params;
  params.terminals = Terminals::kAll;
  params.overlong_buffer = 3;
  params.response_budget = 4;
  const auto of = [&](Overlong overlong) {
    params.overlong = overlong;
    return credit_of(two_branches(), params);
  };
  auto group = of(Overlong::kPenalty);  // terminals of 3, 3, 2 and 4 tokens, the last cut off
  EXPECT_DOUBLE_EQ(-2.0 / 3, group[0].overlong_penalty);
  EXPECT_EQ(4, group[3].trained_tokens);
  group = of(Overlong::kFilter);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(0, group[i].overlong_penalty);
    EXPECT_EQ(i == 3 ? 0 : group[i].tokens, group[i].trained_tokens);
  }
  EXPECT_DOUBLE_EQ(1.5, group[0].advantages.back()) << "what is filtered is still compared with";
  group = of(Overlong::kNone);
  EXPECT_EQ(4, group[3].trained_tokens);
  EXPECT_EQ(0, group[3].overlong_penalty);
}

TEST(Credit, EqualScoresHaveAdvantageZeroUnderMeanStd) {
  // 0.1 summed and divided is not exactly 0.1: the deviation must be 0 all the same.
  const std::vector<double> scores(7, 0.1);
  for (const Deviation deviation : {Deviation::kPopulation, Deviation::kSample}) {
    const Baseline baseline = baseline_of(scores, AdvantageNorm::kMeanStd, deviation);
    EXPECT_EQ(0, baseline.advantage(0.9));
  }
  EXPECT_NEAR(0.8, baseline_of(scores, AdvantageNorm::kMean, Deviation::kSample).advantage(0.9), 1e-12);
}

TEST(Credit, SubtreeAndEdgeFollowTheValues) {
  CreditParams params;
  params.credit = Credit::kSubtree;
  // V: root (1 − 1 − 1 − 1)/4 = −0.5, node 1: 0, node 2: −1.
  auto group = credit_of(two_branches(), params);
  EXPECT_THAT(group[0].scores, ElementsAre(0, 1));
  EXPECT_THAT(group[0].advantages, ElementsAre(0.5, 1.5));
  EXPECT_THAT(group[1].advantages, ElementsAre(-0.5, 0)) << "nothing is right below node 2: its children teach nothing";
  params.credit = Credit::kEdge;
  group = credit_of(two_branches(), params);
  EXPECT_THAT(group[0].advantages, ElementsAre(1.0, 2.5));
  EXPECT_THAT(group[1].advantages, ElementsAre(-1.0, 0));
  params.advantage_norm = AdvantageNorm::kMeanStd;
  const double deviation = std::sqrt(0.75);
  EXPECT_NEAR(1.0 / deviation, credit_of(two_branches(), params)[0].advantages[0], 1e-5);
}

TEST(Credit, IdenticalSiblingsShareTheirValue) {
  // Two rollouts begin with the same step, one right, one wrong.
  const TreeRecord record = record_of({{0, {10}, 0},
                                       {0, {10}, 0},
                                       {0, {11}, 0},
                                       {1, {12}, 1, Outcome::kCorrect},
                                       {2, {13}, -1, Outcome::kWrong},
                                       {3, {12}, -1, Outcome::kWrong}},
                                      {4, 5, 6});
  CreditParams params;
  params.credit = Credit::kSubtree;
  EXPECT_EQ(-1, credit_of(record, params)[1].scores[0]);
  params.merge_identical = true;
  const auto group = credit_of(record, params);
  EXPECT_EQ(0, group[0].scores[0]);
  EXPECT_EQ(0, group[1].scores[0]);
  EXPECT_EQ(1, group[0].scores[1]);
  EXPECT_EQ(-1, group[1].scores[1]);
  EXPECT_EQ(-1, group[2].scores[0]) << "the same tokens elsewhere are another node";
}

TEST(Credit, UniformGroupsAreKnown) {
  CreditParams params;
  EXPECT_FALSE(is_uniform(two_branches(), params));
  TreeRecord record = two_branches();
  record.recorded.resize(1);
  EXPECT_TRUE(is_uniform(record, params));
  params.terminals = Terminals::kAll;
  EXPECT_FALSE(is_uniform(record, params));
  record.nodes[3].outcome = Outcome::kWrong;
  EXPECT_TRUE(is_uniform(record, params));
  EXPECT_TRUE(is_uniform(TreeRecord{}, params));
  EXPECT_TRUE(credit_of(TreeRecord{}, params).empty());
}

}  // namespace

}  // namespace deepsearch::testing
