#include "core/log.h"

#include <regex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/process.h"
#include "core/temp_folder.h"
#include "core/version.h"

namespace deepsearch {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Log, WorksBeforeItIsStarted) {
  const ChildResult child = run_in_child([] {
    log_info("early {}", 1);
    log_warning("careful");
    flush_log();
    return 0;
  });
  EXPECT_EQ(child.status, 0);
  EXPECT_THAT(child.output, HasSubstr("| early 1\n"));
  EXPECT_THAT(child.output, HasSubstr("| warning: careful\n"));
}

TEST(Log, LineNamesTimeAndProcess) {
  const ChildResult child = run_in_child([] {
    start_log("search 3", LogLevel::kInfo, true);
    log_info("100 % of {}", "it {not a field}");
    return 0;
  });
  EXPECT_TRUE(std::regex_match(child.output,
                               std::regex("[0-2]\\d:[0-5]\\d:[0-6]\\d search 3 \\| 100 % of it \\{not a field\\}\n")))
      << child.output;
}

TEST(Log, NamesAreNotPatterns) {
  const ChildResult child = run_in_child([] {
    start_log("50%v", LogLevel::kInfo, true);
    log_info("x");
    return 0;
  });
  EXPECT_THAT(child.output, HasSubstr(" 50%v | x\n"));
}

TEST(Log, LevelsFilter) {
  const ChildResult child = run_in_child([] {
    start_log("a", LogLevel::kWarning, true);
    log_debug("one");
    log_info("two");
    log_warning("three");
    log_error("four");
    return 0;
  });
  EXPECT_THAT(child.output, Not(HasSubstr("one")));
  EXPECT_THAT(child.output, Not(HasSubstr("two")));
  EXPECT_THAT(child.output, HasSubstr("warning: three"));
  EXPECT_THAT(child.output, HasSubstr("error: four"));
}

TEST(Log, QuietRanksKeepChatterInTheirFile) {
  const TempFolder folder;
  const auto path = folder / "log/rank-0003.log";
  const ChildResult child = run_in_child([&] {
    start_log("search 3", LogLevel::kDebug, false);
    log_to_file(path);
    log_debug("detail");
    log_info("chatter");
    log_error("trouble");
    return 0;
  });
  EXPECT_THAT(child.output, Not(HasSubstr("chatter")));
  EXPECT_THAT(child.output, HasSubstr("error: trouble"));
  const std::string file = read_file(path, 10000);
  EXPECT_EQ(file.find("search 3 | " + program() + "\n"), 9u);  // what wrote the file, behind the time
  EXPECT_THAT(file, HasSubstr("search 3 | detail\n"));
  EXPECT_THAT(file, HasSubstr("search 3 | chatter\n"));
  EXPECT_THAT(file, HasSubstr("search 3 | error: trouble\n"));
}

TEST(Log, AResumedRunAppends) {
  const TempFolder folder;
  const auto path = folder / "rank.log";
  for (int i = 0; i < 2; ++i) {
    run_in_child([&] {
      log_to_file(path);
      log_info("start {}", i);
      return 0;
    });
  }
  EXPECT_THAT(read_file(path, 10000), testing::AllOf(HasSubstr("start 0\n"), HasSubstr("start 1\n")));
}

TEST(Log, AFileThatCannotBeOpenedIsBadInputAndTheOldOneStays) {
  const TempFolder folder;
  folder.write("file", "");
  const auto path = folder / "rank.log";
  const ChildResult child = run_in_child([&] {
    log_to_file(path);
    try {
      log_to_file(folder / "file/rank.log");
    } catch (const Error& error) {
      log_info("still here");
      return error.exit_code();
    }
    return 0;
  });
  EXPECT_EQ(WEXITSTATUS(child.status), kExitBadInput) << child.output;
  EXPECT_THAT(read_file(path, 10000), HasSubstr("still here\n"));
}

TEST(Log, ThreadsDoNotMixTheirLines) {
  const TempFolder folder;
  const auto path = folder / "rank.log";
  run_in_child([&] {
    start_log("t", LogLevel::kInfo, false);
    log_to_file(path);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([] {
        for (int i = 0; i < 200; ++i) log_info("{}", std::string(80, 'x'));
      });
    }
    for (std::thread& thread : threads) thread.join();
    return 0;
  });
  const std::string file = read_file(path, 1 << 20);
  const std::string line = " t | " + std::string(80, 'x') + "\n";
  size_t lines = 0;
  for (size_t at = file.find(line); at != std::string::npos; at = file.find(line, at + 1)) ++lines;
  EXPECT_EQ(lines, 800u);
  const size_t heading = file.find('\n') + 1;
  EXPECT_EQ(file.size(), heading + 800 * (line.size() + 8));  // 8: the time
}

}  // namespace
}  // namespace deepsearch
