#include "comm/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace deepsearch {
namespace {

using ::testing::HasSubstr;

Watchdog watch_three() {
  std::vector<Watchdog::Rank> ranks(3);
  for (int i = 0; i < 3; ++i) {
    Watchdog::Rank& rank = ranks[static_cast<size_t>(i)];
    rank.rank = i;
    rank.name = i < 2 ? fmt::format("search {}", i) : "learner 0";
    rank.host = fmt::format("n{}", i);
  }
  return {std::move(ranks), 60.0, 1000.0};
}

HeartbeatMessage beat(const std::string& phase, double phase_seconds) {
  HeartbeatMessage message;
  message.phase = phase;
  message.phase_seconds = phase_seconds;
  return message;
}

TEST(Watchdog, QuietWhileAllSpeak) {
  Watchdog watchdog = watch_three();
  EXPECT_FALSE(watchdog.silent(1060.0));
  for (double now = 1030; now < 2000; now += 30) {
    for (int rank = 0; rank < 3; ++rank) watchdog.heard(rank, beat("searching", 1), now);
    EXPECT_FALSE(watchdog.silent(now + 59));
  }
}

TEST(Watchdog, NamesRoleRankHostPhaseAndSeconds) {
  Watchdog watchdog = watch_three();
  for (int rank = 0; rank < 3; ++rank) watchdog.heard(rank, beat("searching", 12.0), 1010);
  watchdog.heard(0, beat("searching", 13.0), 1060);
  watchdog.heard(2, beat("learning", 1.0), 1060);
  const auto silent = watchdog.silent(1071.5);
  ASSERT_TRUE(silent);
  EXPECT_EQ(silent->rank, 1);
  EXPECT_DOUBLE_EQ(silent->seconds, 61.5);
  EXPECT_EQ(silent->text,
            "search 1 (rank 1, host n1) has been silent for 61.5 s (limit 60 s); it was last in phase 'searching' (for "
            "12.0 s)");
}

TEST(Watchdog, SaysTheOperationARankWasIn) {
  Watchdog watchdog = watch_three();
  for (int rank = 0; rank < 3; ++rank) watchdog.heard(rank, 1010 + rank);
  HeartbeatMessage message = beat("learning", 5.0);
  message.operation = "MPI_Ibcast with learner 1 (rank 3, host n3)";
  message.operation_seconds = 2.0;
  watchdog.heard(0, message, 1010);
  const auto silent = watchdog.silent(1071);
  ASSERT_TRUE(silent);
  EXPECT_THAT(silent->text, HasSubstr("search 0 (rank 0, host n0)"));
  EXPECT_THAT(silent->text, HasSubstr("it was last in phase 'learning' (for 5.0 s), in MPI_Ibcast with learner 1 (rank "
                                      "3, host n3) (for 2.0 s)"));
}

TEST(Watchdog, TimeInWhichNobodyListenedIsNobodysSilence) {
  Watchdog watchdog = watch_three();
  for (int rank = 0; rank < 3; ++rank) watchdog.heard(rank, beat("x", 0), 1000);
  watchdog.listened(1010);  // a short gap counts
  watchdog.listened(1500);  // 490 s of learning do not
  EXPECT_FALSE(watchdog.silent(1540));
  watchdog.heard(0, 1540);
  watchdog.heard(1, 1540);
  for (double now = 1510; now <= 1552; now += 10) watchdog.listened(now);
  const auto silent = watchdog.silent(1552);
  ASSERT_TRUE(silent);
  EXPECT_EQ(silent->rank, 2);
  EXPECT_DOUBLE_EQ(silent->seconds, 62);
}

TEST(Watchdog, ARankThatNeverSpokeHasTimeForSetUp) {
  Watchdog watchdog = watch_three();
  watchdog.heard(0, beat("x", 0), 1290);
  watchdog.heard(1, beat("x", 0), 1290);
  EXPECT_FALSE(watchdog.silent(1300.0));
  const auto silent = watchdog.silent(1300.5);
  ASSERT_TRUE(silent);
  EXPECT_THAT(silent->text, HasSubstr("learner 0 (rank 2, host n2)"));
  EXPECT_THAT(silent->text, HasSubstr("no heartbeat at all"));
}

TEST(Watchdog, TheLongestSilenceIsNamed) {
  Watchdog watchdog = watch_three();
  watchdog.heard(0, beat("x", 0), 1030);
  watchdog.heard(1, beat("x", 0), 1020);
  watchdog.heard(2, beat("x", 0), 1040);
  const auto silent = watchdog.silent(1200);
  ASSERT_TRUE(silent);
  EXPECT_EQ(silent->rank, 1);
}

TEST(Watchdog, AnyMessageIsASignOfLife) {
  Watchdog watchdog = watch_three();
  for (int rank = 0; rank < 3; ++rank) watchdog.heard(rank, 1100.0);
  EXPECT_FALSE(watchdog.silent(1160.0));
  EXPECT_TRUE(watchdog.silent(1e9));
}

TEST(Watchdog, TimeNeverRunsBack) {
  Watchdog watchdog = watch_three();
  for (int rank = 0; rank < 3; ++rank) watchdog.heard(rank, 1100.0);
  watchdog.heard(0, 1010.0);
  EXPECT_FALSE(watchdog.silent(1150.0));
}

TEST(Watchdog, RefusesUnknownRanksAndNoLimit) {
  Watchdog watchdog = watch_three();
  EXPECT_THROW(watchdog.heard(3, 1000.0), Error);
  EXPECT_THROW(watchdog.heard(-1, 1000.0), Error);
  EXPECT_THROW(Watchdog({}, 0.0, 0.0), Error);
}

}  // namespace
}  // namespace deepsearch
