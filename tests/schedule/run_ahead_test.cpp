// How far search may run ahead: whatever the order in which trees finish, no batch waits without need and none uses
// what is too old.
#include "schedule/run_ahead.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "core/rng.h"

namespace deepsearch {

namespace {

struct Begun {
  int64_t version = 0;
  bool finished = false;
};

// A run of `steps` steps in which trees finish at random; gives the age of what was used.
std::vector<int64_t> ages(int64_t problems, int64_t staleness, uint64_t seed, int64_t steps) {
  RandomStream random(seed, RngPurpose::kTests, 4);
  RunAhead ahead(problems, staleness, 0);
  std::vector<Begun> held;  // oldest first
  std::vector<int64_t> used;
  for (int64_t step = 1; step <= steps; ++step) {
    const int64_t more = ahead.may_begin(static_cast<int64_t>(held.size()));
    held.insert(held.end(), static_cast<size_t>(more), {.version = step - 1, .finished = false});
    ahead.begun(more);
    EXPECT_EQ(static_cast<int64_t>(held.size()), ahead.ahead());
    for (int64_t rounds = 0;; ++rounds) {
      std::vector<RunAhead::Age> counts(static_cast<size_t>(staleness) + 1);
      for (const Begun& one : held) {
        RunAhead::Age& age = counts.at(static_cast<size_t>(one.version - ahead.oldest_usable(step)));
        ++age.all;
        age.finished += one.finished ? 1 : 0;
      }
      if (ahead.ready(counts, /*wait=*/true)) break;
      held[random.below(held.size())].finished = true;
      if (rounds > 100000) {
        ADD_FAILURE() << "waits for ever";
        return used;
      }
    }
    int64_t taken = 0;
    for (auto entry = held.begin(); entry != held.end() && taken < problems;) {
      if (!entry->finished) {
        ++entry;
        continue;
      }
      used.push_back(step - 1 - entry->version);
      entry = held.erase(entry);
      ++taken;
    }
    EXPECT_EQ(taken, problems);
    ahead.published();
  }
  return used;
}

TEST(RunAhead, NothingUsedIsTooOldAndEveryBatchIsFull) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (const int64_t staleness : {0, 1, 2, 5}) {
      const std::vector<int64_t> used = ages(7, staleness, seed, 40);
      EXPECT_LE(*std::max_element(used.begin(), used.end()), staleness);
      EXPECT_GE(*std::min_element(used.begin(), used.end()), 0);
    }
  }
}

TEST(RunAhead, WaitsOnlyForWhatWouldBeTooOld) {
  RunAhead ahead(4, 2, 0);
  ahead.begun(8);
  // Four of the oldest are finished; another may wait for the next batch, but not one that is in its last step.
  EXPECT_TRUE(ahead.ready({{}, {.all = 5, .finished = 4}, {.all = 3, .finished = 0}}, true));
  EXPECT_FALSE(ahead.ready({{.all = 5, .finished = 4}, {}, {.all = 3, .finished = 0}}, true));
  EXPECT_TRUE(ahead.ready({{.all = 5, .finished = 4}, {}, {.all = 3, .finished = 0}}, false));
  // Six that can be in this batch or the next: two of them must be in this one.
  EXPECT_FALSE(ahead.ready({{}, {.all = 6, .finished = 1}, {.all = 4, .finished = 4}}, true));
  EXPECT_TRUE(ahead.ready({{}, {.all = 6, .finished = 2}, {.all = 4, .finished = 4}}, true));
}

TEST(RunAhead, RefillsAreLimitedAVersion) {
  RunAhead ahead(10, 1, 5);
  EXPECT_EQ(ahead.may_begin(0), 20);
  ahead.begun(20);
  EXPECT_EQ(ahead.may_begin(12), 0);  // eight were used
  ahead.taught_nothing(8);
  EXPECT_EQ(ahead.may_begin(12), 5);
  ahead.begun(5);
  EXPECT_EQ(ahead.may_begin(12), 0);
  EXPECT_FALSE(ahead.ready({{.all = 0, .finished = 0}, {.all = 12, .finished = 9}}, true));
  EXPECT_TRUE(ahead.ready({{.all = 0, .finished = 0}, {.all = 9, .finished = 9}}, true));  // no more can come
  ahead.published();
  EXPECT_EQ(ahead.may_begin(0), 10);
  ahead.taught_nothing(3);
  EXPECT_EQ(ahead.may_begin(0), 13);
}

}  // namespace

}  // namespace deepsearch
