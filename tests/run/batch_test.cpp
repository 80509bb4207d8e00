#include "run/batch.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace deepsearch {
namespace {

// A record of problem `place` with one-node trajectories of the given outcomes.
TreeRecord record(int64_t place, RecordKind kind, const std::vector<Outcome>& outcomes) {
  TreeRecord tree;
  tree.kind = kind;
  tree.key.problem_index = place;
  tree.problem.prompt_tokens = {1};
  tree.nodes.resize(1);
  for (const Outcome outcome : outcomes) {
    const auto at = static_cast<int32_t>(tree.tokens.size());
    tree.tokens.push_back(2);
    tree.logprobs.push_back(-1);
    tree.entropies.push_back(1);
    const double reward = outcome == Outcome::kCorrect ? 1 : -1;
    tree.nodes.push_back({.parent = 0,
                          .depth = 1,
                          .first_token = at,
                          .n_tokens = 1,
                          .value = reward,
                          .terminal = true,
                          .outcome = outcome});
    tree.recorded.push_back(
        {.leaf = static_cast<int32_t>(tree.nodes.size()) - 1, .reward = reward, .outcome = outcome});
  }
  return tree;
}

using enum Outcome;

TEST(Batch, TakesTheTreeWhereThereIsOneAndDoesNotDependOnOrder) {
  std::vector<TreeRecord> records = {
      record(2, RecordKind::kRollouts, {kCorrect, kWrong}), record(0, RecordKind::kRollouts, {kWrong, kWrong}),
      record(0, RecordKind::kTree, {kCorrect, kWrong}), record(1, RecordKind::kRollouts, {kCorrect, kWrong})};
  CreditParams credit;
  for (int turn = 0; turn < 4; ++turn) {
    const StepBatch batch = choose_batch(records, 10, credit);
    ASSERT_EQ(batch.trees.size(), 3U);
    EXPECT_EQ(batch.trees[0].kind, RecordKind::kTree);
    EXPECT_EQ(batch.trees[1].key.problem_index, 1);
    EXPECT_EQ(batch.trees[2].key.problem_index, 2);
    EXPECT_EQ(batch.solved, 3);
    std::rotate(records.begin(), records.begin() + 1, records.end());
  }
}

TEST(Batch, PutsRescuedSolutionsAmongTheRolloutsWhereAsked) {
  const std::vector<TreeRecord> records = {
      record(0, RecordKind::kRollouts, {kWrong, kWrong}), record(0, RecordKind::kTree, {kWrong, kCorrect}),
      record(1, RecordKind::kRollouts, {kWrong, kWrong}), record(1, RecordKind::kTree, {kWrong, kWrong, kWrong}),
      record(2, RecordKind::kRollouts, {kCorrect, kWrong})};
  CreditParams credit;
  credit.rescue = Rescue::kGroup;
  credit.skip_uniform = true;
  const StepBatch batch = choose_batch(records, 10, credit);
  EXPECT_EQ(batch.seen, 3);
  EXPECT_EQ(batch.solved, 2);
  EXPECT_EQ(batch.uniform, 1);
  ASSERT_EQ(batch.trees.size(), 2U);
  EXPECT_EQ(batch.trees[0].kind, RecordKind::kRollouts);
  ASSERT_EQ(batch.trees[0].recorded.size(), 3U);
  EXPECT_EQ(batch.trees[0].recorded[2].outcome, kCorrect);
  EXPECT_EQ(batch.trees[1].recorded.size(), 2U);
}

TEST(Batch, SkipsUniformRecordsOnlyWhenAsked) {
  const std::vector<TreeRecord> records = {
      record(0, RecordKind::kTree, {kWrong, kWrong}), record(1, RecordKind::kTree, {kCorrect, kCorrect}),
      record(2, RecordKind::kTree, {kCorrect, kWrong}), record(3, RecordKind::kTree, {})};
  CreditParams credit;
  EXPECT_EQ(choose_batch(records, 10, credit).trees.size(), 3U);
  credit.skip_uniform = true;
  const StepBatch batch = choose_batch(records, 10, credit);
  ASSERT_EQ(batch.trees.size(), 1U);
  EXPECT_EQ(batch.trees[0].key.problem_index, 2);
  EXPECT_GE(batch.uniform, 2);
}

TEST(Batch, LeavesOutWhatNothingOfIsTrained) {
  std::vector<TreeRecord> records = {
      record(0, RecordKind::kTree, {kWrong, kWrong}), record(1, RecordKind::kRollouts, {kIncomplete, kIncomplete}),
      record(2, RecordKind::kTree, {kCorrect, kIncomplete}), record(3, RecordKind::kTree, {})};
  CreditParams credit;
  credit.overlong = Overlong::kFilter;
  StepBatch batch = choose_batch(records, 10, credit);
  ASSERT_EQ(batch.trees.size(), 2U);
  EXPECT_EQ(batch.trees[1].key.problem_index, 2);
  EXPECT_EQ(batch.seen, 4);
  auto minibatches = minibatches_of(batch.trees, 10, credit);
  EXPECT_EQ(minibatches[0].size(), 3U) << "the incomplete trajectory is no row";
  credit.credit = Credit::kSubtree;
  credit.skip_dead = true;
  batch = choose_batch(records, 10, credit);
  ASSERT_EQ(batch.trees.size(), 1U) << "a tree without a solution is dead";
  EXPECT_EQ(minibatches_of(batch.trees, 10, credit)[0].size(), 1U);
  EXPECT_TRUE(minibatches_of({}, 10, credit).empty());
  EXPECT_TRUE(choose_batch({}, 10, credit).trees.empty());
}

TEST(Batch, WithCreditByValuesUnrecordedTerminalsCompareToo) {
  TreeRecord tree = record(0, RecordKind::kTree, {kCorrect, kWrong});
  tree.recorded.resize(1);
  CreditParams credit;
  credit.skip_uniform = true;
  EXPECT_EQ(choose_batch({tree}, 10, credit).trees.size(), 0U);
  credit.credit = Credit::kEdge;
  EXPECT_EQ(choose_batch({tree}, 10, credit).trees.size(), 1U);
  credit.credit = Credit::kNode;
  credit.terminals = Terminals::kAll;
  tree.recorded.clear();
  EXPECT_EQ(choose_batch({tree}, 10, credit).trees.size(), 1U) << "its group is not what was recorded";
}

TEST(Batch, NeverMoreThanWantedAndCutIntoUpdates) {
  std::vector<TreeRecord> records;
  for (int i = 0; i < 7; ++i) records.push_back(record(i, RecordKind::kTree, {kCorrect, kWrong}));
  CreditParams credit;
  const StepBatch batch = choose_batch(records, 5, credit);
  ASSERT_EQ(batch.trees.size(), 5U);
  const auto minibatches = minibatches_of(batch.trees, 2, credit);
  ASSERT_EQ(minibatches.size(), 3U);
  EXPECT_EQ(minibatches[0].size(), 4U);
  EXPECT_EQ(minibatches[2].size(), 2U);
}

}  // namespace
}  // namespace deepsearch
