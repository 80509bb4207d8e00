#include "core/progress.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/log.h"
#include "core/process.h"

namespace deepsearch {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

TEST(FormatDuration, Units) {
  EXPECT_EQ(format_duration(0), "0.0 s");
  EXPECT_EQ(format_duration(4.21), "4.2 s");
  EXPECT_EQ(format_duration(59.94), "59.9 s");
  EXPECT_EQ(format_duration(59.96), "1 min 00 s");
  EXPECT_EQ(format_duration(185), "3 min 05 s");
  EXPECT_EQ(format_duration(3599.6), "1 h 00 min");
  EXPECT_EQ(format_duration(3720), "1 h 02 min");
  EXPECT_EQ(format_duration(86399), "1 d 00 h");
  EXPECT_EQ(format_duration(200000), "2 d 08 h");
  EXPECT_EQ(format_duration(-1), "unknown");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "unknown");
  EXPECT_EQ(format_duration(1e300), "unknown");
}

TEST(FormatCount, GroupsOfThree) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1 000");
  EXPECT_EQ(format_count(-1234567), "-1 234 567");
  EXPECT_EQ(format_count(-123), "-123");
  EXPECT_EQ(format_count(std::numeric_limits<int64_t>::min()), "-9 223 372 036 854 775 808");
}

TEST(FormatBytes, Units) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(format_bytes(uint64_t{2} << 30), "2.0 GiB");
  EXPECT_EQ(format_bytes(~uint64_t{0}), "16.0 EiB");
}

TEST(Progress, PlainLinesInABatchLog) {
  const ChildResult child = run_in_child([] {
    Progress progress("trees", 2000, true, 0);
    progress.update(500, "Pass@1 0.31");
    progress.update(2000, "Pass@1 0.40");
    progress.finish();
    progress.finish();
    return 0;
  });
  EXPECT_THAT(child.output, MatchesRegex("trees: 500/2 000 \\(25 %\\), [0-9.]+ s left, Pass@1 0.31\n"
                                         "trees: 2 000/2 000 \\(100 %\\), Pass@1 0.40\n"
                                         "trees: 2 000/2 000 \\(100 %\\) in [0-9.]+ s, Pass@1 0.40\n"));
}

TEST(Progress, LinesAreRateLimited) {
  const ChildResult child = run_in_child([] {
    Progress progress("trees", 1000, true, 1e6);
    for (int i = 1; i <= 1000; ++i) progress.update(i, "");
    return 0;  // the destructor finishes
  });
  EXPECT_EQ(std::count(child.output.begin(), child.output.end(), '\n'), 2);  // the first and the last
  EXPECT_THAT(child.output, HasSubstr("1 000/1 000 (100 %) in "));
}

TEST(Progress, UnknownTotalHasNoPercentage) {
  const ChildResult child = run_in_child([] {
    Progress progress("lines", 0, true, 0);
    progress.update(7);
    return 0;
  });
  EXPECT_THAT(child.output, HasSubstr("lines: 7\n"));
  EXPECT_THAT(child.output, Not(HasSubstr("%")));
}

TEST(Progress, ShareOfABudgetInsteadOfACount) {
  const ChildResult child = run_in_child([] {
    Progress progress("training, steps", 100000, true, 0);
    progress.update(2, "", 0.0);
    progress.update(43, "Pass@1 0.31", 0.25);
    progress.update(160, "", 1.0);
    return 0;
  });
  EXPECT_THAT(child.output, MatchesRegex("training, steps: 2 \\(0 %\\)\n"
                                         "training, steps: 43 \\(25 %\\), [0-9.]+ s left, Pass@1 0.31\n"
                                         "training, steps: 160 \\(100 %\\)\n"
                                         "training, steps: 160 \\(100 %\\) in [0-9.]+ s\n"));
}

// 60 of 100 were there before: the 20 of this attempt took as long as the last 20 will.
TEST(Progress, AnEarlierAttemptsWorkSaysNothingOfTheTimeLeft) {
  const ChildResult child = run_in_child([] {
    Progress progress("training", 100, true, 0);
    progress.start_at(0.6);
    progress.update(60);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    progress.update(80);
    return 0;
  });
  EXPECT_THAT(child.output, HasSubstr("training: 60/100 (60 %)\n"));  // no speed is known yet
  const size_t at = child.output.find("80/100 (80 %), ");
  ASSERT_NE(at, std::string::npos) << child.output;
  double left = -1;
  ASSERT_EQ(std::sscanf(child.output.c_str() + at, "80/100 (80 %%), %lf s left", &left), 1) << child.output;
  EXPECT_GE(left, 0.3);  // of the whole 80 it would be a quarter of that
}

TEST(Progress, DisabledIsSilent) {
  const ChildResult child = run_in_child([] {
    Progress progress("trees", 10, false, 0);
    progress.update(5, "x");
    progress.finish();
    return 0;
  });
  EXPECT_EQ(child.output, "");
}

TEST(Progress, BarOnATerminalFitsTheLine) {
  const ChildResult child = run_in_child(
      [] {
        Progress progress("trees", 4, true, 1e6);
        progress.update(2, std::string(200, 'd') + "END");
        progress.update(4, "done");
        progress.finish();
        return 0;
      },
      true);
  EXPECT_THAT(child.output, HasSubstr("\r\x1b[Ktrees: [############............] 2/4 (50 %), "));
  EXPECT_THAT(child.output, HasSubstr("\r\x1b[Ktrees: [########################] 4/4 (100 %) in "));
  EXPECT_THAT(child.output, Not(HasSubstr("END")));  // cut at 80 columns
  EXPECT_THAT(child.output, testing::EndsWith("done\r\n"));
}

TEST(Progress, ALogLineWipesTheBarFirst) {
  const ChildResult child = run_in_child(
      [] {
        Progress progress("trees", 4, true, 1e6);
        progress.update(2, "detail");
        log_info("message");
        return 0;
      },
      true);
  const size_t bar = child.output.find("detail");
  const size_t message = child.output.find("| message");
  ASSERT_NE(bar, std::string::npos);
  ASSERT_NE(message, std::string::npos);
  EXPECT_THAT(child.output.substr(bar, message - bar), HasSubstr("\r\x1b[K"));
}

}  // namespace
}  // namespace deepsearch
