#include "schedule/hand_over.h"

#include <gtest/gtest.h>

namespace deepsearch {
namespace {

TreeRecord record(RecordKind kind, int64_t tokens, const std::vector<Outcome>& outcomes) {
  TreeRecord made;
  made.kind = kind;
  made.tokens_generated = tokens;
  for (const Outcome outcome : outcomes) made.recorded.push_back({.outcome = outcome});
  return made;
}

constexpr Outcome kRight = Outcome::kCorrect;
constexpr Outcome kWrong = Outcome::kWrong;

// Two groups of 100 tokens, one mixed; two trees of 50, one solved: 200 tokens a mixed group, 100 a solution.
std::vector<TreeRecord> step() {
  return {record(RecordKind::kRollouts, 100, {kRight, kWrong}), record(RecordKind::kRollouts, 100, {kWrong, kWrong}),
          record(RecordKind::kTree, 50, {kWrong, kRight}), record(RecordKind::kTree, 50, {kWrong})};
}

TEST(HandOver, ComparesTokensForSomethingToLearnFrom) {
  HandOver decision(2.0);
  EXPECT_EQ(decision.ratio(), -1);
  decision.step_done(step());
  EXPECT_DOUBLE_EQ(decision.ratio(), 2.0);
  EXPECT_TRUE(decision.wanted(1));
  EXPECT_FALSE(HandOver(2.001, decision.tally()).wanted(1));
}

TEST(HandOver, UnknownOrAlwaysHandsOver) {
  EXPECT_TRUE(HandOver(2.0).wanted(1)) << "nothing is known yet";
  HandOver dear(2.0);
  dear.step_done({record(RecordKind::kRollouts, 10, {kRight, kWrong}), record(RecordKind::kTree, 1000, {kRight})});
  EXPECT_FALSE(dear.wanted(1));
  EXPECT_TRUE(HandOver(0.0, dear.tally()).wanted(1));
}

// All failed: what was spent bounds the cost of the first success from below.
TEST(HandOver, InVainCountsAsOneSuccess) {
  HandOver decision(3.0);
  decision.step_done({record(RecordKind::kRollouts, 600, {kWrong, kWrong}), record(RecordKind::kTree, 100, {kWrong})});
  EXPECT_DOUBLE_EQ(decision.ratio(), 6.0);
  decision.step_done({record(RecordKind::kRollouts, 0, {kRight, kRight})});
  EXPECT_DOUBLE_EQ(decision.ratio(), 6.0) << "a group without a wrong one teaches nothing either";
}

TEST(HandOver, OneOfSixteenGoesOnToBeMeasuredAndOldStepsFade) {
  HandOver decision(2.0);
  decision.step_done({record(RecordKind::kRollouts, 10, {kRight, kWrong}), record(RecordKind::kTree, 1000, {kRight})});
  for (int64_t place = 0; place < 64; ++place) EXPECT_EQ(decision.wanted(place), place % 16 == 0) << place;
  for (int i = 0; i < 20; ++i) {
    decision.step_done(
        {record(RecordKind::kRollouts, 1000, {kRight, kWrong}), record(RecordKind::kTree, 10, {kRight})});
  }
  EXPECT_TRUE(decision.wanted(1));
  EXPECT_GT(decision.ratio(), 10);
}

}  // namespace
}  // namespace deepsearch
