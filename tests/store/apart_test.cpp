#include "store/apart.h"

#include <csignal>
#include <new>
#include <string>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deepsearch {
namespace {

using ::testing::HasSubstr;

TEST(RunApart, BringsTheTextBackAndLeavesTheCallerAlone) {
  int value = 1;
  const std::string text = run_apart("a.h5", 0, [&] {
    value = 2;
    return std::string(1 << 20, 'x') + '\0' + "end";
  });
  EXPECT_EQ(text.size(), (1U << 20) + 4);
  EXPECT_TRUE(text.ends_with("end"));
  EXPECT_EQ(value, 1);
  EXPECT_EQ(run_apart("a.h5", 0, [] { return std::string(); }), "");
}

TEST(RunApart, ErrorsKeepTheirTextAndExitCode) {
  try {
    run_apart("a.h5", 0, []() -> std::string { bad_input("a.h5: row 3: no"); });
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "a.h5: row 3: no");
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    EXPECT_EQ(dynamic_cast<const CrashedApart*>(&error), nullptr);
  }
}

TEST(RunApart, ACrashIsALineThatNamesTheFile) {
  for (const int signal : {SIGSEGV, SIGABRT, SIGKILL, 0}) {
    try {
      run_apart("a.h5", 0, [signal]() -> std::string {
        if (signal == 0) _exit(0);
        std::signal(signal, SIG_DFL);
        std::raise(signal);
        return "";
      });
      FAIL();
    } catch (const CrashedApart& error) {
      EXPECT_THAT(error.what(), HasSubstr("a.h5: "));
      EXPECT_THAT(error.what(), HasSubstr("damaged, restore it from a copy"));
      EXPECT_EQ(error.exit_code(), kExitBadInput);
    }
  }
}

TEST(RunApart, MoreMemoryThanTheFileExplainsIsDamage) {
  try {
    run_apart("a.h5", 0, []() -> std::string { throw std::bad_alloc(); });
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("a.h5: reading it takes more memory than its size explains"));
    EXPECT_EQ(error.exit_code(), kExitBadInput);
  }
}

}  // namespace
}  // namespace deepsearch
