#include "core/activity.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace deepsearch {
namespace {

TEST(Activity, OperationsNestAndCountAsProgress) {
  speak_for_this_process();
  enter_phase("learning");
  const Activity before = current_activity();
  EXPECT_STREQ(before.phase, "learning");
  EXPECT_EQ(before.operation, nullptr);
  {
    CurrentOperation outer("MPI_Ibcast", 3);
    {
      const CurrentOperation inner("writing checkpoint");
      EXPECT_STREQ(current_activity().operation, "writing checkpoint");
      EXPECT_EQ(current_activity().peer, -1);
    }
    EXPECT_STREQ(current_activity().operation, "MPI_Ibcast");
    EXPECT_EQ(current_activity().peer, 3);
    outer.with(5);
    EXPECT_EQ(current_activity().peer, 5);
  }
  EXPECT_EQ(current_activity().operation, nullptr);
  EXPECT_GT(current_activity().progress, before.progress);
}

TEST(Activity, APhaseEnteredAgainIsTheSame) {
  speak_for_this_process();
  enter_phase("a");
  const Activity first = current_activity();
  enter_phase("a");
  EXPECT_EQ(current_activity().phase_since, first.phase_since);
  EXPECT_EQ(current_activity().progress, first.progress);
  enter_phase("b");
  EXPECT_STREQ(current_activity().phase, "b");
}

TEST(Activity, WaitingCountsOnlyWhileSomebodyTells) {
  speak_for_this_process();
  const uint64_t waits = current_activity().waits;
  report_waiting();
  EXPECT_EQ(current_activity().waits, waits);
  int told = 0;
  {
    const WhileWaiting hook(
        [&] {
          ++told;
          report_progress();  // must not call it again
        },
        0.0);
    report_waiting();
    EXPECT_EQ(told, 1);
    EXPECT_EQ(current_activity().waits, waits + 1);
    report_progress();
    EXPECT_EQ(told, 2);
    const WhileWaiting rare([&] { told += 100; }, 3600.0);
    report_progress();
    EXPECT_EQ(told, 2);
  }
  report_progress();
  EXPECT_EQ(told, 2);
}

TEST(Activity, OtherThreadsReadWholeStatesAndSayNothing) {
  speak_for_this_process();
  std::atomic<bool> done{false};
  std::atomic<int> torn{0};
  std::thread reader([&] {
    enter_phase("of another thread");
    while (!done) {
      const Activity seen = current_activity();
      if (seen.operation == nullptr) continue;
      // Named by its peer: "1" goes with 1, "2" with 2.
      if (seen.operation[0] - '0' != seen.peer) ++torn;
    }
  });
  for (int i = 0; i < 200'000; ++i) {
    const CurrentOperation one(i % 2 == 0 ? "1" : "2", i % 2 == 0 ? 1 : 2);
  }
  done = true;
  reader.join();
  EXPECT_EQ(torn, 0);
  EXPECT_STRNE(current_activity().phase, "of another thread");
}

}  // namespace
}  // namespace deepsearch
