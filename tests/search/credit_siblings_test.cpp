// Credit among siblings on a tree whose answers are worked out by hand.
#include "search/credit_siblings.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deepsearch::testing {

namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;

int32_t add(TreeRecord& record, int32_t parent, int32_t tokens, Outcome outcome, bool expanded = false) {
  NodeRecord node;
  node.parent = parent;
  node.first_token = static_cast<int32_t>(record.tokens.size());
  node.n_tokens = tokens;
  node.terminal = outcome != Outcome::kNone;
  node.outcome = outcome;
  node.expanded = expanded ? 1 : -1;
  record.tokens.resize(record.tokens.size() + static_cast<size_t>(tokens));
  record.nodes.push_back(node);
  return static_cast<int32_t>(record.nodes.size()) - 1;
}

// root ─ 1 (2 tokens) ─ 5 ✓ (3)     4 was passed by, 2 is a dead end: all that was found below it is wrong
//      ├ 2 (2) ───────── 7 ✗        6 ✗ (1) stands beside the solution
//      ├ 3 ✗ (4)
//      └ 4 (2)
TreeRecord small_tree() {
  TreeRecord record;
  record.nodes.emplace_back();
  add(record, 0, 2, Outcome::kNone, true);
  add(record, 0, 2, Outcome::kNone, true);
  add(record, 0, 4, Outcome::kWrong);
  add(record, 0, 2, Outcome::kNone);
  add(record, 1, 3, Outcome::kCorrect);
  add(record, 1, 1, Outcome::kWrong);
  add(record, 2, 5, Outcome::kWrong);
  return record;
}

CreditParams params(AdvantageNorm norm) {
  CreditParams credit;
  credit.credit = Credit::kSiblings;
  credit.advantage_norm = norm;
  return credit;
}

TEST(CreditSiblings, AStepIsHeldAgainstTheDecidedOnesBesideIt) {
  const std::vector<TrajectoryCredit> group = credit_of(small_tree(), params(AdvantageNorm::kMean));
  ASSERT_EQ(group.size(), 4);  // 2, 3, 5, 6; nothing below the dead end
  EXPECT_EQ(group[0].leaf, 2);
  EXPECT_EQ(group[1].leaf, 3);
  EXPECT_EQ(group[2].leaf, 5);
  EXPECT_EQ(group[3].leaf, 6);
  EXPECT_THAT(group[2].advantages, ElementsAre(DoubleEq(4.0 / 3), DoubleEq(1)));  // 1 of 3 right, then 1 of 2
  EXPECT_THAT(group[0].advantages, ElementsAre(DoubleEq(-2.0 / 3)));
  EXPECT_THAT(group[1].advantages, ElementsAre(DoubleEq(-2.0 / 3)));
  EXPECT_DOUBLE_EQ(group[3].advantages.back(), -1);
}

TEST(CreditSiblings, OfAMistakeOnlyItsOwnStepIsTrainedOn) {
  const std::vector<TrajectoryCredit> group = credit_of(small_tree(), params(AdvantageNorm::kMean));
  ASSERT_EQ(group.size(), 4);
  EXPECT_EQ(group[2].first_trained, 0);
  EXPECT_EQ(group[2].trained_tokens, 5);
  EXPECT_EQ(group[3].first_trained, 2);
  EXPECT_EQ(group[3].trained_tokens, 3);
  EXPECT_EQ(group[3].outcome, Outcome::kWrong);
}

TEST(CreditSiblings, TheDeviationIsThatOfTheSiblings) {
  const std::vector<TrajectoryCredit> group = credit_of(small_tree(), params(AdvantageNorm::kMeanStd));
  ASSERT_EQ(group.size(), 4);
  EXPECT_NEAR(group[2].advantages[0], std::sqrt(2.0), 1e-12);
  EXPECT_NEAR(group[0].advantages[0], -std::sqrt(0.5), 1e-12);
  EXPECT_DOUBLE_EQ(group[2].advantages[1], 1);
}

TEST(CreditSiblings, WithoutASolutionThereIsNothingToLearn) {
  TreeRecord record = small_tree();
  record.nodes[5].outcome = Outcome::kWrong;
  EXPECT_TRUE(credit_of(record, params(AdvantageNorm::kMean)).empty());
  EXPECT_FALSE(teaches(record, params(AdvantageNorm::kMean)));
}

TEST(CreditSiblings, RolloutsAreScoredByTheirOutcome) {
  TreeRecord record;
  record.kind = RecordKind::kRollouts;
  record.nodes.emplace_back();
  for (const Outcome outcome : {Outcome::kCorrect, Outcome::kWrong}) {
    const int32_t leaf = add(record, 0, 2, outcome);
    const double reward = outcome == Outcome::kCorrect ? 1 : -1;
    record.recorded.push_back({.leaf = leaf, .reward = reward, .entropy = 0, .outcome = outcome, .leftover = false});
  }
  const std::vector<TrajectoryCredit> group = credit_of(record, params(AdvantageNorm::kMean));
  ASSERT_EQ(group.size(), 2);
  EXPECT_THAT(group[0].advantages, ElementsAre(DoubleEq(1)));
  EXPECT_THAT(group[1].advantages, ElementsAre(DoubleEq(-1)));
  EXPECT_EQ(group[1].first_trained, 0);
}

}  // namespace

}  // namespace deepsearch::testing
