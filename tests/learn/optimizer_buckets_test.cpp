#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "learn/gradient_buckets.h"

namespace deepsearch {
namespace {

constexpr int64_t kUnit = GradientBuckets::kAlignment;

// What holds for any layout: parameters lie apart and aligned, buckets follow each other and divide by the ranks, a
// bucket names every group that reaches into it, and its parts start aligned.
void check(const std::vector<int64_t>& sizes, const std::vector<ParameterRange>& groups, int64_t values, int ranks) {
  const GradientBuckets layout(sizes, groups, values, ranks);
  int64_t end = 0;
  for (size_t p = 0; p < sizes.size(); ++p) {
    EXPECT_GE(layout.offset(p), end);
    EXPECT_EQ(layout.offset(p) % kUnit, 0);
    end = layout.offset(p) + sizes[p];
  }
  EXPECT_LE(end, layout.total());
  int64_t next = 0;
  const auto& buckets = layout.buckets();
  for (size_t b = 0; b < buckets.size(); ++b) {
    EXPECT_EQ(buckets[b].begin, next);
    EXPECT_GT(buckets[b].size, 0);
    EXPECT_LE(buckets[b].size, std::max(values, kUnit * ranks) + kUnit * ranks);
    EXPECT_EQ(layout.part_size(b) * ranks, buckets[b].size);
    EXPECT_EQ(layout.part_begin(b, ranks - 1) % kUnit, 0);
    next += buckets[b].size;
    for (size_t g = 0; g < groups.size(); ++g) {
      const bool named = static_cast<int>(g) >= buckets[b].first_group && static_cast<int>(g) <= buckets[b].last_group;
      for (int64_t p = groups[g].begin; p < groups[g].end; ++p) {
        const int64_t begin = layout.offset(static_cast<size_t>(p));
        const bool inside = begin < next && begin + sizes[static_cast<size_t>(p)] > buckets[b].begin;
        EXPECT_TRUE(named || !inside) << "group " << g << ", bucket " << b;
      }
    }
  }
  EXPECT_EQ(next, layout.total());
}

TEST(OptimizerBuckets, AnyLayoutIsWhole) {
  const std::vector<int64_t> sizes = {5000, 1, 64, 4096, 4096, 33, 17, 900, 12'345, 64};
  const std::vector<ParameterRange> groups = {{0, 1}, {1, 4}, {4, 6}, {6, 9}, {9, 10}};
  for (const int64_t values : {1, 100, 1000, 4096, 10'000, 1'000'000}) {
    for (const int ranks : {1, 2, 3, 4, 7}) check(sizes, groups, values, ranks);
  }
}

TEST(OptimizerBuckets, SmallGroupsJoinFromTheEnd) {
  const GradientBuckets layout({320, 320, 320, 320, 320}, {{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 5}}, 650, 1);
  ASSERT_EQ(layout.buckets().size(), 3U);
  EXPECT_EQ(layout.buckets()[0].first_group, 0);
  EXPECT_EQ(layout.buckets()[0].last_group, 0);
  EXPECT_EQ(layout.buckets()[1].first_group, 1);
  EXPECT_EQ(layout.buckets()[1].last_group, 2);
  EXPECT_EQ(layout.buckets()[2].size, 640);
  EXPECT_EQ(layout.total(), 5 * 320);
}

TEST(OptimizerBuckets, ALargeGroupIsCutIntoEqualPieces) {
  const GradientBuckets layout({3200, 320}, {{0, 1}, {1, 2}}, 1024, 2);
  ASSERT_EQ(layout.buckets().size(), 5U);
  for (size_t b = 0; b < 4; ++b) {
    EXPECT_EQ(layout.buckets()[b].last_group, 0);
    EXPECT_LE(layout.buckets()[b].size, 832);
    EXPECT_GE(layout.buckets()[b].size, 704);
  }
}

TEST(OptimizerBuckets, GroupsMustCoverAllParametersInOrder) {
  EXPECT_THROW(GradientBuckets({1, 2, 3}, {{0, 1}, {2, 3}}, 10, 1), Error);
  EXPECT_THROW(GradientBuckets({1, 2, 3}, {{0, 2}}, 10, 1), Error);
  EXPECT_THROW(GradientBuckets({1, 2, 3}, {{0, 2}, {1, 3}}, 10, 1), Error);
}

}  // namespace
}  // namespace deepsearch
