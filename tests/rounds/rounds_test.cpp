// The filter's rule, the order of problems, what a round caches, its state, and its keys.
#include <algorithm>
#include <map>

#include <gmock/gmock.h>

#include "core/error.h"
#include "rounds/filter.h"
#include "rounds/params.h"
#include "rounds/problem_order.h"
#include "rounds/state.h"

namespace deepsearch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Filter, KeepsWhatPassesAtMostTheRate) {
  EXPECT_TRUE(is_hard(0, 4, 0.25));
  EXPECT_TRUE(is_hard(1, 4, 0.25));
  EXPECT_FALSE(is_hard(2, 4, 0.25));
  EXPECT_TRUE(is_hard(3, 10, 0.3));  // 0.3·10 < 3 in floating point
  EXPECT_FALSE(is_hard(1, 8, 0));
  EXPECT_TRUE(is_hard(8, 8, 1));
}

TEST(Filter, GoesInWaves) {
  FilterPass pass{.candidates = {4, 7, 9, 11, 12}};
  EXPECT_THAT(pass.next_wave(2), ElementsAre(4, 7));
  pass.correct = {0, 3};
  EXPECT_FALSE(pass.done());
  EXPECT_THAT(pass.next_wave(9), ElementsAre(9, 11, 12));
  pass.correct = {0, 3, 1, 4, 0};
  EXPECT_TRUE(pass.done());
  EXPECT_TRUE(pass.next_wave(9).empty());
  EXPECT_THAT(pass.hard(4, 0.25), ElementsAre(4, 9, 12));
  EXPECT_THAT(pass.histogram(4), ElementsAre(2, 1, 0, 1, 1));
  EXPECT_DOUBLE_EQ(pass.mean_pass_rate(4), 0.4);
  EXPECT_EQ(FilterPass().mean_pass_rate(4), 0);
}

TEST(ProblemOrder, GoesThroughTheHardOnesAndMixesTheShareOfAll) {
  const std::vector<int64_t> hard = {3, 5, 8, 13};
  ProblemOrder plain(1, 0, hard, 100, 0);
  for (int64_t pass = 0; pass < 3; ++pass) {
    std::vector<int64_t> drawn;
    for (int64_t i = 0; i < 4; ++i) drawn.push_back(plain.problem(4 * pass + i));
    std::sort(drawn.begin(), drawn.end());
    EXPECT_EQ(drawn, hard);
  }
  ProblemOrder mixed(1, 0, hard, 100, 0.25);
  std::map<int64_t, int> from_all;
  int64_t easy = 0;
  for (int64_t n = 0; n < 400; ++n) {
    const int64_t number = mixed.problem(n);
    ASSERT_TRUE(number >= 0 && number < 100);
    if (std::find(hard.begin(), hard.end(), number) == hard.end()) ++easy;
  }
  EXPECT_EQ(easy, 96);  // 100 of 400, each problem of the pool once; four of these are hard
  ProblemOrder all(1, 0, hard, 100, 1);
  for (int64_t n = 0; n < 100; ++n) ++from_all[all.problem(n)];
  EXPECT_EQ(from_all.size(), 100U);
}

TEST(ProblemOrder, DependsOnNothingButItsNumber) {
  const std::vector<int64_t> hard = {3, 5, 8, 13, 21, 34, 55};
  ProblemOrder forth(1, 2, hard, 60, 0.4);
  ProblemOrder other_round(1, 3, hard, 60, 0.4);
  ProblemOrder back(1, 2, hard, 60, 0.4);
  std::vector<int64_t> first;
  int64_t differ = 0;
  for (int64_t n = 0; n < 200; ++n) {
    first.push_back(forth.problem(n));
    if (other_round.problem(n) != first.back()) ++differ;
  }
  EXPECT_GT(differ, 100);
  for (int64_t n = 199; n >= 0; --n) EXPECT_EQ(back.problem(n), first[static_cast<size_t>(n)]);
}

TreeRecord record_of(uint64_t problem, const std::vector<std::pair<std::vector<Token>, Outcome>>& trajectories) {
  TreeRecord record;
  record.problem.key = problem;
  record.nodes.resize(1);
  for (const auto& [tokens, outcome] : trajectories) {
    NodeRecord node;
    node.parent = 0;
    node.depth = 1;
    node.first_token = static_cast<int32_t>(record.tokens.size());
    node.n_tokens = static_cast<int32_t>(tokens.size());
    node.terminal = true;
    node.outcome = outcome;
    record.tokens.insert(record.tokens.end(), tokens.begin(), tokens.end());
    record.recorded.push_back({.leaf = static_cast<int32_t>(record.nodes.size()), .outcome = outcome});
    record.nodes.push_back(node);
  }
  return record;
}

constexpr Outcome kRight = Outcome::kCorrect;
constexpr Outcome kWrong = Outcome::kWrong;

TEST(RoundTrajectories, CacheSolutionsOfProblemsSolvedSeldom) {
  RoundTrajectories round;
  round.add(record_of(1, {{{1}, kRight}, {{2}, kWrong}, {{3}, kWrong}, {{4}, kWrong}}));  // one of four
  round.add(record_of(2, {{{1}, kRight}, {{2}, kWrong}, {{2}, kWrong}, {{2}, kWrong}}));  // one of two different
  round.add(record_of(3, {{{1}, kWrong}, {{2}, kWrong}, {{3}, kWrong}, {{4}, kWrong}}));  // none
  round.add(record_of(4, {{{1}, kRight}, {{1}, kRight}, {{3}, kWrong}, {{4}, kWrong}}));  // one of three so far
  round.add(record_of(4, {{{5}, kWrong}, {{6}, Outcome::kIncomplete}}));                  // of five
  TreeRecord replayed = record_of(5, {{{1}, kRight}, {{2}, kWrong}, {{3}, kWrong}});
  replayed.recorded[0].cached = true;  // says nothing new
  round.add(replayed);
  ReplayCache cache(1 << 20);
  EXPECT_EQ(round.move_to(cache, 0.25), 2);
  EXPECT_THAT(cache.first(1, 9, 9), ElementsAre(ElementsAre(1)));
  EXPECT_THAT(cache.first(4, 9, 9), ElementsAre(ElementsAre(1)));
  EXPECT_EQ(cache.problems(), 2);
  EXPECT_EQ(round.problems(), 0);
}

RoundsState some_state(const RoundsParams& params) {
  RoundsState state(params);
  state.round = 2;
  state.filter = {.candidates = {1, 5, 6}, .correct = {4, 0}};
  state.hard = {5, 6, 1LL << 40};
  state.first_problem = 77;
  state.pool_digest = ~0ULL;
  state.trajectories.add(record_of(1, {{{1, 2}, kRight}, {{2}, kWrong}, {{3}, kWrong}, {{4}, kWrong}}));
  state.replayed_groups = 3;
  state.saved_tokens = -5;
  return state;
}

TEST(RoundsState, ReadsBackAndNamesDamage) {
  const RoundsParams params;
  const std::string bytes = state_to_bytes(some_state(params));
  RoundsState back(params);
  state_from_bytes(bytes, "rounds.bin", back);
  EXPECT_EQ(state_to_bytes(back), bytes);
  EXPECT_EQ(back.filter.correct, (std::vector<int32_t>{4, 0}));
  EXPECT_EQ(back.trajectories.move_to(back.cache, 0.25), 1);
  for (size_t size = 0; size < bytes.size(); ++size) {
    RoundsState broken(params);
    try {
      state_from_bytes(bytes.substr(0, size), "rounds.bin", broken);
      ADD_FAILURE() << size;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("rounds.bin"));
      EXPECT_EQ(error.exit_code(), kExitBadInput);
    }
  }
}

TEST(RoundsParams, StepsAreDerivedOrMustAgree) {
  const auto refusal = [](const RoundsParams& rounds, int64_t steps) {
    try {
      resolved(rounds, steps);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(resolved({.count = 2}, 50).steps, 25);
  EXPECT_EQ(resolved({}, 50).steps, 0);
  EXPECT_EQ(refusal({.count = 2, .steps = 25}, 50), "");
  EXPECT_THAT(refusal({.count = 2, .steps = 20}, 50), HasSubstr("[learn].steps is 50: set it to 40"));
  EXPECT_THAT(refusal({.count = 3}, 50), HasSubstr("does not divide"));
  EXPECT_THAT(refusal({.count = 2, .replay = false, .cache_file = "x"}, 50), HasSubstr("cache_file"));
}

}  // namespace
}  // namespace deepsearch
