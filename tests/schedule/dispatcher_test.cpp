// The coordinator's decisions: single cases, and invariants over random histories.
#include "schedule/dispatcher.h"

#include <map>
#include <numeric>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/rng.h"

namespace deepsearch {

namespace {

std::vector<int> first_ranks(int n) {
  std::vector<int> ranks(static_cast<size_t>(n));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

Load busy(int64_t trees, int64_t width = 8) {
  return {.own_requests = trees, .own_sequences = trees * width, .here = trees * width};
}

TEST(Dispatcher, SharesProblemsOutEvenly) {
  Dispatcher dispatcher(first_ranks(4), {.problems_in_flight = 64, .share = true});
  dispatcher.queued(10);
  const Decisions decisions = dispatcher.decide();
  int64_t given = 0;
  for (const Assignment& assignment : decisions.assignments) {
    EXPECT_LE(assignment.count, 3);
    given += assignment.count;
  }
  EXPECT_EQ(given, 10);
  EXPECT_EQ(dispatcher.waiting(), 0);
  EXPECT_TRUE(dispatcher.decide().assignments.empty());
}

TEST(Dispatcher, KeepsHalfBackWithoutSharing) {
  Dispatcher dispatcher(first_ranks(2), {.problems_in_flight = 64, .share = false});
  dispatcher.queued(40);
  dispatcher.decide();
  EXPECT_EQ(dispatcher.waiting(), 20);
  for (int i = 0; i < 3; ++i) dispatcher.finished(1);
  EXPECT_EQ(dispatcher.decide().assignments.size(), 1U);
  EXPECT_EQ(dispatcher.waiting(), 17);
}

TEST(Dispatcher, NeverMoreThanTheLimitAtOnce) {
  Dispatcher dispatcher(first_ranks(3), {.problems_in_flight = 5, .share = true});
  dispatcher.queued(100);
  dispatcher.decide();
  EXPECT_EQ(dispatcher.waiting(), 85);
  for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(dispatcher.outstanding(rank), 5);
}

TEST(Dispatcher, SendsTheIdleToTheBusiest) {
  Dispatcher dispatcher({2, 5, 7}, {.problems_in_flight = 64, .share = true});
  dispatcher.queued(3);
  dispatcher.decide();
  dispatcher.told(2, busy(5));
  dispatcher.told(5, busy(9));
  EXPECT_TRUE(dispatcher.decide().shares.empty());  // 7 has not told its load yet
  dispatcher.told(7, {});
  const Decisions decisions = dispatcher.decide();
  ASSERT_EQ(decisions.shares.size(), 1U);
  EXPECT_EQ(decisions.shares[0].donor, 5);
  EXPECT_EQ(decisions.shares[0].helper, 7);
  EXPECT_TRUE(decisions.shares[0].on);
  EXPECT_EQ(dispatcher.leases(), 1);
  EXPECT_TRUE(dispatcher.decide().shares.empty());
}

TEST(Dispatcher, LeavesAloneWhatCannotBeShared) {
  Dispatcher dispatcher(first_ranks(3), {.problems_in_flight = 64, .share = true});
  dispatcher.told(0, busy(1));  // one tree has one request at a time
  dispatcher.told(1, {});
  EXPECT_TRUE(dispatcher.decide().shares.empty());
  dispatcher.told(0, busy(10));
  dispatcher.told(1, busy(6));  // has enough of its own
  dispatcher.told(2, busy(7));
  EXPECT_TRUE(dispatcher.decide().shares.empty());
}

TEST(Dispatcher, NewProblemsEndHelp) {
  Dispatcher dispatcher(first_ranks(2), {.problems_in_flight = 4, .share = true});
  dispatcher.told(0, busy(6));
  dispatcher.told(1, {});
  ASSERT_EQ(dispatcher.decide().shares.size(), 1U);
  dispatcher.queued(2);
  const Decisions decisions = dispatcher.decide();
  EXPECT_EQ(decisions.assignments.size(), 2U);
  ASSERT_EQ(decisions.shares.size(), 1U);
  EXPECT_FALSE(decisions.shares[0].on);
  EXPECT_EQ(dispatcher.leases(), 0);
}

TEST(Dispatcher, ADonorThatRunsDryLetsItsHelpersGo) {
  Dispatcher dispatcher(first_ranks(4), {.problems_in_flight = 4, .share = true});
  dispatcher.told(0, busy(12));
  for (const int rank : {1, 2, 3}) dispatcher.told(rank, {});
  EXPECT_EQ(dispatcher.decide().shares.size(), 3U);
  dispatcher.told(0, busy(2));
  const Decisions decisions = dispatcher.decide();
  EXPECT_EQ(decisions.shares.size(), 2U);
  for (const ShareOrder& order : decisions.shares) EXPECT_FALSE(order.on);
  dispatcher.told(0, {});
  EXPECT_EQ(dispatcher.decide().shares.size(), 1U);
  EXPECT_EQ(dispatcher.leases(), 0);
}

TEST(Dispatcher, ADonorHearsWhenItsHelperHasDoneItsOwn) {
  Dispatcher dispatcher(first_ranks(2), {.problems_in_flight = 4, .share = true});
  dispatcher.told(0, busy(12));
  dispatcher.told(1, busy(2));
  ASSERT_EQ(dispatcher.decide().shares.size(), 1U);
  dispatcher.told(1, busy(1));
  const Decisions decisions = dispatcher.decide();
  ASSERT_EQ(decisions.shares.size(), 1U);
  EXPECT_TRUE(decisions.shares[0].on);
  EXPECT_EQ(decisions.shares[0].donor, 0);
  EXPECT_EQ(decisions.shares[0].helper_load, 8);
  EXPECT_EQ(dispatcher.leases(), 1);
  dispatcher.told(1, busy(1));
  EXPECT_TRUE(dispatcher.decide().shares.empty());
}

TEST(Dispatcher, UnknownRanksAreErrors) {
  Dispatcher dispatcher({1, 3}, {});
  EXPECT_THROW(dispatcher.told(2, {}), Error);
  EXPECT_THROW(dispatcher.finished(0), Error);
}

// Orders carried out by a ledger that knows nothing of the dispatcher's inside.
TEST(Dispatcher, InvariantsOverRandomHistories) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    RandomStream random(seed, RngPurpose::kTests, 9);
    const int n = static_cast<int>(random.between(1, 12));
    const int64_t limit = random.between(1, 9);
    Dispatcher dispatcher(first_ranks(n), {.problems_in_flight = limit, .share = random.below(4) != 0});
    std::vector<int64_t> problems(static_cast<size_t>(n));
    std::map<int, int> donor_of;
    int64_t queued = 0;
    int64_t given = 0;
    for (int event = 0; event < 400; ++event) {
      const auto rank = static_cast<int>(random.below(static_cast<uint64_t>(n)));
      switch (random.below(6)) {
        case 0: {
          const int64_t more = random.between(0, 30);
          queued += more;
          dispatcher.queued(more);
          break;
        }
        case 1:
        case 2:
          if (problems[static_cast<size_t>(rank)] > 0) {
            --problems[static_cast<size_t>(rank)];
            dispatcher.finished(rank);
          }
          break;
        default:
          dispatcher.told(rank, busy(random.below(3) == 0 ? 0 : random.between(0, 20)));
      }
      const Decisions decisions = dispatcher.decide();
      for (const Assignment& assignment : decisions.assignments) {
        EXPECT_GT(assignment.count, 0);
        problems[static_cast<size_t>(assignment.rank)] += assignment.count;
        EXPECT_LE(problems[static_cast<size_t>(assignment.rank)], limit);
        given += assignment.count;
      }
      for (const ShareOrder& order : decisions.shares) {
        if (order.on) {
          // New, or news of the same one's load.
          EXPECT_EQ(donor_of.try_emplace(order.helper, order.donor).first->second, order.donor);
        } else {
          EXPECT_EQ(donor_of.at(order.helper), order.donor);
          donor_of.erase(order.helper);
        }
        EXPECT_NE(order.donor, order.helper);
      }
      for (const auto& [helper, donor] : donor_of) EXPECT_FALSE(donor_of.contains(donor));
      EXPECT_EQ(dispatcher.leases(), static_cast<int64_t>(donor_of.size()));
      EXPECT_EQ(queued - given, dispatcher.waiting());
      // Nobody is idle while problems wait.
      if (dispatcher.waiting() > 0) {
        for (const int64_t held : problems) EXPECT_GT(held, 0);
      }
    }
  }
}

}  // namespace

}  // namespace deepsearch
