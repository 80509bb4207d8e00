// Rollouts, and the forest that drives many episodes over one generator.
#include "search/forest.h"

#include <set>

#include <gtest/gtest.h>

#include "core/error.h"
#include "search/grow.h"
#include "search/rollouts.h"

namespace deepsearch::testing {

namespace {

TreeRecord roll(int64_t n, const SearchParams& params, uint64_t seed, const Verifier& verifier,
                const RandomGeneratorOptions& options = {}) {
  RandomGenerator generator(options);
  Rollouts rollouts(test_problem(), {.round = 1}, n, params, verifier, seed, 3);
  drive(rollouts, generator);
  return rollouts.finish();
}

TEST(Rollouts, AreIndependentChainsRecordedInOrder) {
  const RuleVerifier verifier = hashed_verifier();
  int64_t correct = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    const SearchParams params = random_params(seed);
    const TreeRecord record = roll(6, params, seed, verifier);
    EXPECT_EQ(RecordKind::kRollouts, record.kind);
    EXPECT_EQ(StopReason::kEnough, record.stop_reason);
    ASSERT_EQ(6U, record.recorded.size());
    std::vector<int32_t> children(record.nodes.size(), 0);
    double total = 0;
    for (size_t id = 1; id < record.nodes.size(); ++id) {
      const NodeRecord& node = record.nodes[id];
      ASSERT_LT(node.parent, static_cast<int32_t>(id));
      EXPECT_GE(node.depth, record.nodes[id - 1].depth);  // level by level
      EXPECT_EQ(1, node.visits);
      ++children[static_cast<size_t>(node.parent)];
    }
    EXPECT_EQ(6, children[0]);
    for (size_t i = 0; i < record.recorded.size(); ++i) {
      const RecordedLeaf& leaf = record.recorded[i];
      const std::vector<int32_t> path = path_to(record, leaf.leaf);
      EXPECT_EQ(static_cast<int32_t>(i) + 1, path.front());  // rollout i begins with the root's i-th child
      for (const int32_t node : path) EXPECT_EQ(leaf.reward, record.nodes[static_cast<size_t>(node)].value);
      for (size_t k = 0; k + 1 < path.size(); ++k) EXPECT_EQ(1, children[static_cast<size_t>(path[k])]);
      const auto tokens = trajectory_tokens(record, leaf.leaf);
      const bool ended = tokens.back() == kEosToken;
      EXPECT_TRUE(ended || static_cast<int64_t>(path.size()) == params.max_depth);
      if (ended || hashed_outcome(tokens, ended) != Outcome::kIncomplete) {
        EXPECT_EQ(hashed_outcome(tokens, ended), leaf.outcome);
      }
      total += leaf.reward;
      correct += leaf.outcome == Outcome::kCorrect ? 1 : 0;
    }
    EXPECT_EQ(total, record.nodes[0].value);
    EXPECT_EQ(6, record.nodes[0].visits);
    EXPECT_EQ(static_cast<int64_t>(record.tokens.size()), record.tokens_generated);
  }
  EXPECT_GT(correct, 10);
}

TEST(Rollouts, DoNotDependOnTheOrderOfCompletion) {
  const RuleVerifier verifier = hashed_verifier();
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const SearchParams params = random_params(seed);
    const std::string first = bytes_of(roll(7, params, seed, verifier, {.order_seed = 1}));
    EXPECT_EQ(first, bytes_of(roll(7, params, seed, verifier, {.order_seed = 2})));
    EXPECT_EQ(first, bytes_of(roll(7, params, seed, verifier, {.order_seed = 3, .per_poll = 4})));
  }
}

TEST(Rollouts, EndEarlyWhereTheStepCheckSaysSo) {
  // Token 5 kills, token 6 solves; nothing ends by itself.
  const RuleVerifier verifier([](TokenSpan, bool) { return Outcome::kWrong; },
                              [](TokenSpan response) {
                                if (response.back() == 5) return StepState::kDead;
                                return response.back() == 6 ? StepState::kSolved : StepState::kAlive;
                              });
  SearchParams params = small_params();
  params.max_depth = 40;
  params.step_tokens = 1;
  const TreeRecord record = roll(20, params, 3, verifier, {.eos_probability = 0, .vocabulary = 8});
  std::set<Outcome> outcomes;
  for (const RecordedLeaf& leaf : record.recorded) {
    const Token last = trajectory_tokens(record, leaf.leaf).back();
    EXPECT_EQ(last == 6 ? Outcome::kCorrect : Outcome::kWrong, leaf.outcome);
    EXPECT_TRUE(last == 5 || last == 6 || record.nodes[static_cast<size_t>(leaf.leaf)].depth == 40);
    outcomes.insert(leaf.outcome);
  }
  EXPECT_EQ(2U, outcomes.size());
  for (const NodeRecord& node : record.nodes) {
    if (node.n_tokens == 1 && record.tokens[static_cast<size_t>(node.first_token)] == 5) {
      EXPECT_TRUE(node.terminal);
    }
  }
}

TEST(Rollouts, CancelledOnesKeepWhatEnded) {
  const RuleVerifier verifier = hashed_verifier();
  RandomGenerator generator({.eos_probability = 0.12});
  Rollouts rollouts(test_problem(), {}, 8, small_params(), verifier, 5, 3);
  generator.submit(*rollouts.next_request());
  std::vector<Expansion> came;
  generator.poll(came);
  rollouts.apply(std::move(came[0]));
  ASSERT_FALSE(rollouts.done());
  rollouts.cancel();
  const TreeRecord record = rollouts.finish();
  EXPECT_EQ(StopReason::kCancelled, record.stop_reason);
  EXPECT_EQ(9U, record.nodes.size());
  EXPECT_GT(record.recorded.size(), 0U);
  EXPECT_LT(record.recorded.size(), 8U);
  EXPECT_EQ(static_cast<int32_t>(record.recorded.size()), record.nodes[0].visits);
}

TEST(Rollouts, CountOutOfRangeIsBadInput) {
  const RuleVerifier verifier = hashed_verifier();
  EXPECT_THROW(Rollouts(test_problem(), {}, 0, small_params(), verifier, 1, 1), Error);
  EXPECT_THROW(Rollouts(test_problem(), {}, 1 << 20, small_params(), verifier, 1, 1), Error);
}

struct Harvest {
  std::map<std::pair<int64_t, RecordKind>, std::string> records;  // by problem index and kind
  int64_t seconds_missing = 0;
};

Harvest harvest(const RandomGeneratorOptions& options, uint64_t first_handle) {
  const RuleVerifier verifier = hashed_verifier();
  RandomGenerator generator(options);
  Forest forest(generator, verifier, small_params(), {.seed = 9, .made_by_rank = 2, .first_handle = first_handle});
  Harvest result;
  for (int64_t i = 0; i < 12; ++i) {
    forest.add_tree(test_problem(), {.problem_index = i});
    forest.add_rollouts(test_problem(), {.problem_index = i}, 4);
  }
  EXPECT_EQ(24, forest.growing());
  while (forest.growing() > 0) {
    forest.pump();
    for (TreeRecord& record : forest.take_finished()) {
      EXPECT_EQ(2, record.made_by_rank);
      EXPECT_GE(record.seconds_generating, 0);
      EXPECT_LE(record.seconds_generating, record.seconds);
      result.seconds_missing += record.seconds > 0 ? 0 : 1;
      result.records[{record.key.problem_index, record.kind}] = bytes_of(std::move(record));
    }
  }
  EXPECT_EQ(24U, generator.released.size());
  EXPECT_EQ(0, generator.in_flight());
  EXPECT_GT(forest.bookkeeping_seconds(), 0);
  EXPECT_GT(forest.generator_seconds(), 0);
  return result;
}

TEST(Forest, GrowsAllTheSameWhateverTheTiming) {
  const Harvest first = harvest({.order_seed = 1}, 1);
  EXPECT_EQ(24U, first.records.size());
  EXPECT_EQ(0, first.seconds_missing);
  EXPECT_EQ(first.records, harvest({.order_seed = 2}, 500).records);
  EXPECT_EQ(first.records, harvest({.order_seed = 3, .per_poll = 9}, 1).records);
}

TEST(Forest, CancelAllHandsEverythingOut) {
  const RuleVerifier verifier = hashed_verifier();
  RandomGenerator generator;
  Forest forest(generator, verifier, small_params(), {.seed = 9});
  for (int64_t i = 0; i < 5; ++i) forest.add_tree(test_problem(), {.problem_index = i});
  forest.pump();
  forest.cancel_all();
  EXPECT_EQ(0, forest.growing());
  EXPECT_EQ(0, generator.in_flight());
  const auto records = forest.take_finished();
  ASSERT_EQ(5U, records.size());
  for (const TreeRecord& record : records) EXPECT_EQ(StopReason::kCancelled, record.stop_reason);
  EXPECT_TRUE(forest.take_finished().empty());
}

TEST(Forest, ReleasesWhatStillGrowsWhenItEnds) {
  const RuleVerifier verifier = hashed_verifier();
  RandomGenerator generator;
  {
    Forest forest(generator, verifier, small_params(), {.seed = 9, .first_handle = 70});
    forest.add_tree(test_problem(), {});
    EXPECT_EQ(1, generator.in_flight());
  }
  EXPECT_EQ(0, generator.in_flight());
  EXPECT_EQ(std::vector<uint64_t>{70}, generator.released);
}

}  // namespace

}  // namespace deepsearch::testing
