#include "run/out_of_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deepsearch {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(OutOfMemory, TheLineSaysHowMuchAndWhatWouldHelp) {
  const MemoryUse use{.held = 5'800'000'000, .limit = 6'000'000'000, .resident = 1'250'000'000, .available = 0};
  const std::string search = out_of_memory_text(use, /*searches=*/true, /*learns=*/false);
  EXPECT_THAT(search, HasSubstr("out of memory: it holds 1.25 GB, its address space is 5.80 GB of at most 6.00 GB"));
  EXPECT_THAT(search, HasSubstr("0.00 GB are free on this host"));
  EXPECT_THAT(search, HasSubstr("[engine].kv_memory_mb or [ranks].problems_in_flight"));
  EXPECT_THAT(search, Not(HasSubstr("tokens_per_microbatch")));
  const std::string learner = out_of_memory_text({.resident = 1}, /*searches=*/false, /*learns=*/true);
  EXPECT_THAT(learner, HasSubstr("lower [learn].tokens_per_microbatch"));
  EXPECT_THAT(learner, Not(HasSubstr("ulimit")));
  EXPECT_THAT(learner, Not(HasSubstr("kv_memory_mb")));
}

TEST(OutOfMemory, IsToldFromOtherErrors) {
  EXPECT_TRUE(speaks_of_memory("std::bad_alloc"));
  EXPECT_TRUE(
      speaks_of_memory("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
                       "memory: you tried to allocate 4096 bytes. Error code 12 (Cannot allocate memory)"));
  EXPECT_TRUE(speaks_of_memory("cannot write run/a: Cannot allocate memory"));
  EXPECT_FALSE(speaks_of_memory("disk full: cannot write run/a: No space left on device"));
  EXPECT_FALSE(speaks_of_memory("[engine].kv_memory_mb is 3"));
}

}  // namespace
}  // namespace deepsearch
