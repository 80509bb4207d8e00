#include "engine/native/team.h"

#include <numeric>

#include <gtest/gtest.h>

#include "engine/native/roofline.h"

namespace deepsearch::native {
namespace {

// Steps that build on each other: each item of a step reads what all items of the step before wrote.
TEST(Team, EveryItemOfEveryStepIsDoneOnceAndBeforeTheNextStep) {
  for (const int64_t threads : {1, 2, 3, 7}) {
    Team team(threads);
    EXPECT_EQ(team.size(), threads);
    for (int64_t job = 0; job < 200; ++job) {
      constexpr int64_t kItems = 13;
      constexpr int64_t kSteps = 9;
      std::vector<int64_t> values(kItems, 1);
      std::vector<int64_t> sums(kItems, 0);
      team.run([&](int64_t thread) {
        for (int64_t step = 0; step < kSteps; ++step) {
          team.share(thread, kItems, [&](int64_t i) {
            sums[static_cast<size_t>(i)] += std::accumulate(values.begin(), values.end(), int64_t{0}) % 1000;
          });
          team.share(thread, step % 2 == 0 ? 0 : 1, [&](int64_t) { sums[0] += 5; });
          team.share(thread, kItems,
                     [&](int64_t i) { values[static_cast<size_t>(i)] = sums[static_cast<size_t>(i)] + i; });
        }
      });
      std::vector<int64_t> expected_values(kItems, 1);
      std::vector<int64_t> expected_sums(kItems, 0);
      for (int64_t step = 0; step < kSteps; ++step) {
        const int64_t sum = std::accumulate(expected_values.begin(), expected_values.end(), int64_t{0}) % 1000;
        for (int64_t& s : expected_sums) s += sum;
        if (step % 2 != 0) expected_sums[0] += 5;
        for (size_t i = 0; i < kItems; ++i) expected_values[i] = expected_sums[i] + static_cast<int64_t>(i);
      }
      ASSERT_EQ(values, expected_values) << threads << " threads, job " << job;
    }
  }
}

TEST(Roofline, IsMeasured) {
  EXPECT_GT(measured_peak_gflops(1), 0.1);
  EXPECT_GT(measured_bandwidth_gbs(2), 0.1);
}

}  // namespace
}  // namespace deepsearch::native
