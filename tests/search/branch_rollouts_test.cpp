#include "search/branch_rollouts.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "core/error.h"
#include "search/credit.h"
#include "search/grow.h"

namespace deepsearch::testing {

namespace {

constexpr int32_t kDepth = 16;
constexpr int64_t kRollouts = 8;

// A step is one token; a response is right when none of its 16 is smaller than `bad`, and ends with the first that is.
RuleVerifier steps_above(Token bad) {
  const auto dead = [bad](TokenSpan response) {
    return std::any_of(response.begin(), response.end(), [bad](Token token) { return token < bad; });
  };
  return RuleVerifier([dead](TokenSpan response, bool) { return dead(response) ? Outcome::kWrong : Outcome::kCorrect; },
                      [dead](TokenSpan response) { return dead(response) ? StepState::kDead : StepState::kAlive; });
}

SearchParams one_token_steps() {
  SearchParams params;
  params.max_depth = kDepth;
  params.step_tokens = 1;
  return params;
}

std::vector<Step> solution() {
  std::vector<Step> way;
  for (Token i = 0; i < kDepth; ++i) {
    way.push_back({.tokens = {100 + i}, .logprobs = {-0.5F}, .entropies = {1.0F}, .token_versions = {}});
  }
  return way;
}

TreeRecord branch(const Verifier& verifier, uint64_t seed, uint64_t order_seed = 0) {
  RandomGenerator generator({.eos_probability = 0, .order_seed = order_seed});
  BranchRollouts episode(test_problem(), {.round = 1}, solution(), kRollouts, one_token_steps(), verifier, seed, 3);
  drive(episode, generator);
  return episode.finish();
}

int32_t given_of(const TreeRecord& record) {
  return static_cast<int32_t>(
      std::count_if(record.nodes.begin(), record.nodes.end(), [](const NodeRecord& node) { return node.given; }));
}

int64_t correct_of(const TreeRecord& record) {
  return std::count_if(record.recorded.begin(), record.recorded.end(),
                       [](const RecordedLeaf& leaf) { return leaf.outcome == Outcome::kCorrect; });
}

TEST(BranchRollouts, StartWhereSomeSucceedAndSomeFail) {
  const RuleVerifier verifier = steps_above(3 + 12);  // 28 of 40 tokens are fine: 0.3 % of whole responses
  int32_t deepest = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    const TreeRecord record = branch(verifier, seed);
    EXPECT_EQ(record.kind, RecordKind::kBranch);
    EXPECT_EQ(record.stop_reason, StopReason::kEnough);
    const int32_t place = given_of(record);
    deepest = std::max(deepest, place);
    EXPECT_GT(place, 3);
    EXPECT_LE(record.iterations, 4);  // groups: the bisection of 16 steps
    const bool mixed = correct_of(record) > 0 && correct_of(record) < static_cast<int64_t>(record.recorded.size());
    EXPECT_TRUE(mixed);
    for (const RecordedLeaf& leaf : record.recorded) {
      const std::vector<Token> tokens = trajectory_tokens(record, leaf.leaf);
      for (int32_t i = 0; i < place; ++i) EXPECT_EQ(tokens[static_cast<size_t>(i)], 100 + i);
      const bool right = tokens.size() == kDepth && tokens.back() >= 15;
      EXPECT_EQ(leaf.outcome == Outcome::kCorrect, right);
    }
  }
  EXPECT_GT(deepest, 8);
}

TEST(BranchRollouts, DoNotDependOnTheOrderOfCompletion) {
  const RuleVerifier verifier = steps_above(3 + 12);
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const std::string expected = bytes_of(branch(verifier, seed));
    for (uint64_t order = 1; order < 5; ++order) EXPECT_EQ(bytes_of(branch(verifier, seed, order)), expected);
  }
}

TEST(BranchRollouts, WhereNothingMixesTheSolutionIsTheOneSuccess) {
  const TreeRecord record = branch(steps_above(90), 1);  // the policy never makes a token above 42
  EXPECT_EQ(given_of(record), kDepth - 1);
  ASSERT_EQ(record.recorded.size(), kRollouts + 1U);
  EXPECT_EQ(correct_of(record), 1);
  EXPECT_EQ(trajectory_tokens(record, record.recorded.back().leaf).back(), 100 + kDepth - 1);
  EXPECT_EQ(record.tokens_generated, record.iterations * kRollouts);
}

TEST(BranchRollouts, FromThePromptWhereAllSucceed) {
  const TreeRecord record = branch(steps_above(0), 1);
  EXPECT_EQ(given_of(record), 0);
  EXPECT_EQ(correct_of(record), kRollouts);
}

TEST(BranchRollouts, GivenStepsAreOutsideTheCredit) {
  const TreeRecord record = branch(steps_above(3 + 12), 3);
  const int32_t place = given_of(record);
  CreditParams params;
  params.overlong = Overlong::kNone;
  double sum = 0;
  for (const TrajectoryCredit& trajectory : credit_of(record, params)) {
    EXPECT_EQ(trajectory.given_tokens, place);
    EXPECT_EQ(trajectory.trained_tokens, trajectory.tokens);
    EXPECT_EQ(per_token(trajectory).size(), static_cast<size_t>(trajectory.tokens));
    for (const int32_t id : trajectory.path) EXPECT_FALSE(record.nodes[static_cast<size_t>(id)].given);
    sum += trajectory.advantages.front();
  }
  EXPECT_NEAR(sum, 0, 1e-12);
  EXPECT_FALSE(is_uniform(record, params));
}

TEST(BranchRollouts, StepsOfATrajectoryAreItsNodes) {
  const TreeRecord record = branch(steps_above(0), 5);
  const int32_t leaf = record.recorded.front().leaf;
  std::vector<Token> tokens;
  for (const Step& step : steps_of(record, leaf)) {
    tokens.insert(tokens.end(), step.tokens.begin(), step.tokens.end());
    EXPECT_EQ(step.tokens.size(), step.logprobs.size());
  }
  EXPECT_EQ(tokens, trajectory_tokens(record, leaf));
}

}  // namespace

}  // namespace deepsearch::testing
