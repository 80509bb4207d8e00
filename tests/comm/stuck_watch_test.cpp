#include "comm/stuck_watch.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace deepsearch {
namespace {

std::string name(int rank) {
  return fmt::format("learner {} (rank {}, host n{})", rank - 4, rank, rank);
}

TEST(StallClock, CountsTimeWithoutProgress) {
  StallClock clock(60, 2, 0);
  Activity seen;
  seen.phase = "searching";
  for (double now = 1; now <= 60; ++now) EXPECT_FALSE(clock.look(seen, now));
  seen.progress = 1;
  EXPECT_FALSE(clock.look(seen, 61));
  for (double now = 62; now <= 121; ++now) EXPECT_FALSE(clock.look(seen, now));
  EXPECT_TRUE(clock.look(seen, 122));
  EXPECT_DOUBLE_EQ(clock.stalled(), 61);
}

TEST(StallClock, AStoppedProcessIsNotBlamedForTheStop) {
  StallClock clock(60, 2, 0);
  Activity seen;
  seen.phase = "searching";
  EXPECT_FALSE(clock.look(seen, 1));
  EXPECT_FALSE(clock.look(seen, 100'000));
  EXPECT_DOUBLE_EQ(clock.stalled(), 3);
}

TEST(StallClock, WaitingForTheLivingHasALongerLimit) {
  StallClock clock(60, 2, 0);
  Activity seen;
  seen.phase = "learning";
  double now = 0;
  while (now < 600) {
    ++seen.waits;
    ASSERT_FALSE(clock.look(seen, ++now));
  }
  ++seen.waits;
  EXPECT_TRUE(clock.look(seen, ++now));
}

TEST(StallClock, SetUpHasALongerLimit) {
  StallClock clock(60, 2, 0);
  Activity seen;
  seen.phase = kSetUpPhase;
  double now = 0;
  while (now < 300) ASSERT_FALSE(clock.look(seen, ++now));
  EXPECT_TRUE(clock.look(seen, ++now));
}

TEST(StuckLine, NamesRoleOperationPeerPhaseAndSeconds) {
  Activity seen;
  seen.phase = "searching";
  seen.operation = "MPI_Isend";
  seen.peer = 4;
  EXPECT_EQ(stuck_line("search 3 (rank 3, host n07)", seen, 61.2, name),
            "search 3 (rank 3, host n07) is stuck in MPI_Isend to learner 0 (rank 4, host n4), phase searching, since "
            "61 s");
  seen.operation = "MPI_Irecv of weights";
  EXPECT_EQ(describe_operation(seen, name), "MPI_Irecv of weights from learner 0 (rank 4, host n4)");
  seen.operation = "MPI_Ibcast";
  EXPECT_EQ(describe_operation(seen, name), "MPI_Ibcast with learner 0 (rank 4, host n4)");
  seen.peer = -1;
  EXPECT_EQ(describe_operation(seen, name), "MPI_Ibcast");
  seen.operation = nullptr;
  EXPECT_EQ(describe_operation(seen, name), "nothing that has a name");
}

}  // namespace
}  // namespace deepsearch
