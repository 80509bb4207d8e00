#include "core/signals.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "core/process.h"

namespace deepsearch {
namespace {

TEST(Signals, NothingRequestedAtFirst) {
  const ChildResult child = run_in_child([] { return !stop_requested() && stop_signal() == 0 ? 0 : 1; });
  EXPECT_EQ(child.status, 0);
}

TEST(Signals, EachSignalSetsTheFlag) {
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) {
    const ChildResult child = run_in_child([number] {
      install_stop_signals();
      raise(number);
      return stop_requested() && stop_signal() == number ? 0 : 1;
    });
    EXPECT_EQ(child.status, 0) << number;
  }
}

// A batch system warns first, and ends the job later: the second signal is not somebody's impatience.
TEST(Signals, AWarningDoesNotCountAsTheFirstOfTwo) {
  const ChildResult child = run_in_child([] {
    install_stop_signals();
    raise(SIGUSR1);
    usleep(1'100'000);
    raise(SIGTERM);
    raise(SIGUSR1);
    return stop_signal() == SIGUSR1 ? 0 : 1;
  });
  EXPECT_EQ(child.status, 0);
}

// Launchers deliver a signal twice in a row: to the process group and once more to each child.
TEST(Signals, RepeatsAtOnceAreIgnored) {
  const ChildResult child = run_in_child([] {
    install_stop_signals();
    raise(SIGTERM);
    for (int i = 0; i < 5; ++i) raise(SIGINT);
    return stop_signal() == SIGTERM ? 0 : 1;  // the first one is remembered
  });
  EXPECT_EQ(child.status, 0);
}

TEST(Signals, ASecondOneLaterEndsTheProcess) {
  const ChildResult child = run_in_child([] {
    install_stop_signals();
    raise(SIGTERM);
    usleep(1100000);
    raise(SIGINT);
    return 0;
  });
  ASSERT_TRUE(WIFEXITED(child.status));
  EXPECT_EQ(WEXITSTATUS(child.status), 128 + SIGINT);
}

TEST(Signals, APeersRequestIsNoFirstSignal) {
  const ChildResult child = run_in_child([] {
    install_stop_signals();
    request_stop(SIGTERM);
    usleep(1100000);
    raise(SIGINT);
    return stop_signal() == SIGTERM ? 0 : 1;
  });
  EXPECT_EQ(child.status, 0);
}

TEST(Signals, ClearedRequestIsForgotten) {
  const ChildResult child = run_in_child([] {
    request_stop(SIGTERM);
    clear_stop_request();
    return stop_requested() ? 1 : 0;
  });
  EXPECT_EQ(child.status, 0);
}

TEST(Signals, BrokenPipeIsAnErrorCodeOnly) {
  const ChildResult child = run_in_child([] {
    install_stop_signals();
    int ends[2];
    if (pipe(ends) != 0) return 2;
    close(ends[0]);
    return write(ends[1], "x", 1) < 0 ? 0 : 1;
  });
  EXPECT_EQ(child.status, 0);
}

}  // namespace
}  // namespace deepsearch
