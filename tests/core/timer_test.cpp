#include "core/timer.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/version.h"

namespace deepsearch {
namespace {

TEST(Timer, ClocksNeverRunBackwards) {
  const double wall = now_seconds();
  const double cpu = cpu_seconds();
  const Stopwatch watch;
  double sum = 0;
  for (int i = 0; i < 1000000; ++i) sum += i * 1e-9;
  EXPECT_GT(sum, 0);
  EXPECT_GE(now_seconds(), wall);
  EXPECT_GT(cpu_seconds(), cpu);
  EXPECT_GE(watch.seconds(), 0);
}

TEST(PhaseTimes, AddUpByName) {
  PhaseTimes times;
  times.add("decode", 1.5);
  times.add("decode", 0.5);
  times.add("verify", 0.25);
  EXPECT_EQ(times.seconds("decode"), 2.0);
  EXPECT_EQ(times.seconds("none"), 0.0);
  EXPECT_EQ(times.entries().at("decode").count, 2);
  EXPECT_EQ(times.entries().size(), 2u);  // asking makes no entry
}

TEST(ScopedPhase, AddsWhenItEnds) {
  PhaseTimes times;
  {
    const ScopedPhase phase(times, "work");
    EXPECT_TRUE(times.entries().empty());
  }
  EXPECT_EQ(times.entries().at("work").count, 1);
  EXPECT_GE(times.seconds("work"), 0);
}

TEST(Error, CarriesCodeAndContext) {
  try {
    bad_input("width is {}", 0);
  } catch (const Error& error) {
    const Error outer = error.within("[search]").within("run.toml");
    EXPECT_STREQ(outer.what(), "run.toml: [search]: width is 0");
    EXPECT_EQ(outer.exit_code(), kExitBadInput);
  }
  EXPECT_THROW(failure("x"), Error);
  EXPECT_EQ(Error("x").exit_code(), kExitFailure);
}

TEST(Version, IsKnown) {
  EXPECT_THAT(version(), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_GE(std::strlen(revision()), 7u);  // a hash, or "unknown"
}

}  // namespace
}  // namespace deepsearch
