#include "core/rng.h"

#include <cmath>
#include <set>

#include <gtest/gtest.h>

namespace deepsearch {
namespace {

using Block = std::array<uint32_t, 4>;

// kat_vectors of Random123 1.14, philox4x32 with 10 rounds.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Recomputed by a separate implementation; these values name trees on disk and must never change.
TEST(Mix, ValuesAreFixedForEver) {
  EXPECT_EQ(mix(0, 0), 0x48218226ff3cd4bfu);
  EXPECT_EQ(mix(1, 2), 0x81a5c1377856b73u);
  EXPECT_EQ(mix(2, 1), 0xf2826f98653e9e57u);
  EXPECT_EQ(mix(~uint64_t{0}, ~uint64_t{0}), 0x4650bc0eb3312e23u);
  EXPECT_EQ(hash_text(""), 0xa39fc2e1dfa4ad33u);
  EXPECT_EQ(hash_text("countdown"), 0x87abed8cfef9da20u);
}

TEST(Mix, SmallWordsDoNotCollide) {
  std::set<uint64_t> seen;
  for (uint64_t a = 0; a < 200; ++a) {
    for (uint64_t b = 0; b < 200; ++b) seen.insert(mix(a, b));
  }
  EXPECT_EQ(seen.size(), 40000u);
}

TEST(Mix, AllIsAChain) {
  EXPECT_EQ(mix_all(1, 2, 3), mix(mix(1, 2), 3));
  EXPECT_NE(mix_all(1, 2, 3), mix_all(1, 3, 2));
  EXPECT_EQ(mix_all(9), 9u);
}

TEST(HashText, ZeroBytesAndLengthCount) {
  EXPECT_NE(hash_text(std::string_view("\0", 1)), hash_text(""));
  EXPECT_NE(hash_text(std::string_view("a\0", 2)), hash_text("a"));
}

TEST(UniformAt, ValuesAreFixedForEver) {
  EXPECT_EQ(uniform_at(7, RngPurpose::kSampling, 42, 0), 0.9173208432882005);
  EXPECT_EQ(uniform_at(7, RngPurpose::kSampling, 42, 5), 0.7068803917708072);
  EXPECT_EQ(uniform_at(7, RngPurpose::kProblems, 42, 5), 0.18291028660677755);
}

// A stream walks the same blocks that uniform_at jumps to: two 53-bit numbers a block, the first at `position`.
TEST(UniformAt, IsTheStreamByPosition) {
  RandomStream stream(3, RngPurpose::kTests, 0x123456789abcdef0u);
  for (uint64_t position = 0; position < 100; ++position) {
    EXPECT_EQ(stream.uniform(), uniform_at(3, RngPurpose::kTests, 0x123456789abcdef0u, position));
    stream.uniform();
  }
}

TEST(UniformAt, SeedsPurposesKeysAndPositionsAreApart) {
  std::set<double> seen;
  size_t drawn = 0;
  for (const uint64_t seed : {0ull, 1ull, 1ull << 40}) {
    for (const auto purpose : {RngPurpose::kSampling, RngPurpose::kShuffle, RngPurpose::kTests}) {
      for (const uint64_t key : {0ull, 1ull, 2ull, 1ull << 32, ~0ull}) {
        for (const uint64_t position : {0ull, 1ull, 2ull, 1ull << 32, ~0ull}) {
          seen.insert(uniform_at(seed, purpose, key, position));
          ++drawn;
        }
      }
    }
  }
  EXPECT_EQ(seen.size(), drawn);
}

TEST(RandomStream, SameKeySameNumbers) {
  RandomStream a(1, RngPurpose::kTests, 2);
  RandomStream b(1, RngPurpose::kTests, 2);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(a.next_u32(), b.next_u32());
}

TEST(RandomStream, UniformHasTheMomentsOfAUniform) {
  RandomStream stream(1, RngPurpose::kTests, 1);
  constexpr int kDraws = 200000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = stream.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.003);  // five standard errors
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 0.004);
}

TEST(RandomStream, NormalHasTheMomentsOfANormal) {
  RandomStream stream(1, RngPurpose::kTests, 2);
  constexpr int kDraws = 200000;
  double sum = 0;
  double squares = 0;
  double fourth = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = stream.normal();
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.012);
  EXPECT_NEAR(squares / kDraws, 1.0, 0.016);
  EXPECT_NEAR(fourth / kDraws, 3.0, 0.12);
}

TEST(RandomStream, BelowIsEven) {
  for (const uint64_t n : {2u, 3u, 7u, 10u, 64u}) {
    RandomStream stream(1, RngPurpose::kTests, n);
    const double expected = 4000;
    std::vector<double> counts(n, 0);
    for (uint64_t i = 0; i < n * 4000; ++i) {
      const uint64_t value = stream.below(n);
      ASSERT_LT(value, n);
      ++counts[value];
    }
    double chi_square = 0;
    for (const double count : counts) chi_square += (count - expected) * (count - expected) / expected;
    const auto freedom = static_cast<double>(n - 1);
    EXPECT_LT(chi_square, freedom + 5 * std::sqrt(2 * freedom) + 5) << n;
  }
}

// A plain remainder of a 64-bit word would fall into the lowest third of this range half of the time.
TEST(RandomStream, BelowIsUnbiasedForHugeRanges) {
  RandomStream stream(1, RngPurpose::kTests, 3);
  const uint64_t n = 3ull << 62;  // three quarters of the range
  int low_third = 0;
  constexpr int kDraws = 60000;
  for (int i = 0; i < kDraws; ++i) low_third += stream.below(n) < (1ull << 62) ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(low_third) / kDraws, 1.0 / 3, 0.01);  // biased: 1/2
}

TEST(RandomStream, BelowOneIsZero) {
  RandomStream stream(1, RngPurpose::kTests, 4);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(stream.below(1), 0u);
}

TEST(RandomStream, BetweenReachesBothEnds) {
  RandomStream stream(1, RngPurpose::kTests, 5);
  std::set<int64_t> seen;
  for (int i = 0; i < 500; ++i) seen.insert(stream.between(-3, 2));
  EXPECT_EQ(seen, (std::set<int64_t>{-3, -2, -1, 0, 1, 2}));
  EXPECT_EQ(stream.between(5, 5), 5);
  const auto lowest = std::numeric_limits<int64_t>::min();
  const auto highest = std::numeric_limits<int64_t>::max();
  bool negative = false;
  bool positive = false;
  for (int i = 0; i < 100; ++i) {
    const int64_t value = stream.between(lowest, highest);
    negative |= value < 0;
    positive |= value > 0;
  }
  EXPECT_TRUE(negative && positive);
}

TEST(RandomStream, ShuffleIsAnEvenPermutationLottery) {
  RandomStream stream(1, RngPurpose::kTests, 6);
  std::vector<int> counts(9, 0);  // value × position
  for (int i = 0; i < 9000; ++i) {
    std::vector<int> values{0, 1, 2};
    stream.shuffle(values);
    EXPECT_EQ(std::set<int>(values.begin(), values.end()).size(), 3u);
    for (int position = 0; position < 3; ++position)
      ++counts[static_cast<size_t>(3 * values[static_cast<size_t>(position)] + position)];
  }
  for (const int count : counts) EXPECT_NEAR(count, 3000, 250);
}

}  // namespace
}  // namespace deepsearch
