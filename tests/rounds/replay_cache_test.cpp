#include "rounds/replay_cache.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "core/rng.h"

namespace deepsearch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr CacheIdentity kOwn{.vocabulary = 7, .model = 8};

template <class Work>
std::string refusal(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput) << error.what();
    return error.what();
  }
  return "";
}

TEST(ReplayCache, KeepsEachSolutionOnceOldestFirst) {
  ReplayCache cache(1 << 20);
  EXPECT_TRUE(cache.add(5, {1, 2}));
  EXPECT_TRUE(cache.add(5, {3}));
  EXPECT_FALSE(cache.add(5, {1, 2}));
  EXPECT_TRUE(cache.add(6, {1, 2}));
  EXPECT_EQ(cache.problems(), 2);
  EXPECT_EQ(cache.solutions(), 3);
  EXPECT_THAT(cache.first(5, 8, 100), ElementsAre(ElementsAre(1, 2), ElementsAre(3)));
  EXPECT_THAT(cache.first(5, 1, 100), ElementsAre(ElementsAre(1, 2)));
  EXPECT_THAT(cache.first(5, 8, 1), ElementsAre(ElementsAre(3)));
  EXPECT_TRUE(cache.first(9, 8, 100).empty());
}

TEST(ReplayCache, GivesUpTheOldestOfTheFullestProblem) {
  ReplayCache sizes(1 << 20);
  sizes.add(1, {1});
  const int64_t one = sizes.bytes();
  ReplayCache cache(4 * one);
  cache.add(1, {1});
  for (Token token = 1; token <= 3; ++token) cache.add(2, {token});
  EXPECT_EQ(cache.evicted(), 0);
  cache.add(3, {1});
  EXPECT_THAT(cache.first(2, 9, 9), ElementsAre(ElementsAre(2), ElementsAre(3)));
  EXPECT_EQ(cache.evicted(), 1);
  cache.add(4, {1});  // 2 is the fullest still
  EXPECT_THAT(cache.first(2, 9, 9), ElementsAre(ElementsAre(3)));
  cache.add(5, {1});  // all have one: that of problem 1 is the oldest
  EXPECT_TRUE(cache.first(1, 9, 9).empty());
  EXPECT_EQ(cache.solutions(), 4);
  EXPECT_LE(cache.bytes(), 4 * one);
  EXPECT_FALSE(cache.add(6, std::vector<Token>(1000, 1)));  // larger than the bound alone
  EXPECT_EQ(cache.solutions(), 4);
}

ReplayCache random_cache(int64_t max_bytes) {
  ReplayCache cache(max_bytes);
  RandomStream rng(1, RngPurpose::kTests, 4);
  for (int i = 0; i < 500; ++i) {
    std::vector<Token> tokens(1 + rng.below(40));
    for (Token& token : tokens) token = static_cast<Token>(rng.below(100));
    cache.add(rng.below(30), std::move(tokens));
    EXPECT_LE(cache.bytes(), max_bytes);
  }
  return cache;
}

TEST(ReplayCache, ReadsBackAndGoesOnTheSame) {
  ReplayCache cache = random_cache(20000);
  EXPECT_GT(cache.evicted(), 0);
  const std::string bytes = cache_to_bytes(cache, kOwn);
  ReplayCache back = cache_from_bytes(bytes, "file", kOwn, 20000);
  EXPECT_EQ(cache_to_bytes(back, kOwn), bytes);
  EXPECT_EQ(back.bytes(), cache.bytes());
  for (Token token = 0; token < 50; ++token) {
    cache.add(3, {token, token, 9});
    back.add(3, {token, token, 9});
  }
  EXPECT_EQ(cache_to_bytes(back, kOwn), cache_to_bytes(cache, kOwn));
  EXPECT_LE(cache_from_bytes(bytes, "file", kOwn, 5000).bytes(), 5000);
}

TEST(ReplayCache, RefusesWhatIsNotItsOwn) {
  const std::string bytes = cache_to_bytes(random_cache(20000), kOwn);
  const auto read = [&](const std::string& from, CacheIdentity identity) {
    return refusal([&] { cache_from_bytes(from, "old/replay_cache.bin", identity, 1 << 20); });
  };
  EXPECT_EQ(read(bytes, kOwn), "");
  EXPECT_THAT(read(bytes, {.vocabulary = 6, .model = 8}),
              HasSubstr("old/replay_cache.bin: a cache from another tokenizer"));
  EXPECT_THAT(read(bytes, {.vocabulary = 7, .model = 9}), HasSubstr("a cache from another model"));
  EXPECT_THAT(read("", kOwn), HasSubstr("not such a file"));
  for (size_t size = 0; size < bytes.size(); size += 1 + size / 9) {
    EXPECT_THAT(read(bytes.substr(0, size), kOwn), HasSubstr("old/replay_cache.bin")) << size;
  }
  for (size_t at = 0; at < bytes.size(); at += 1 + at / 9) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 4);
    EXPECT_THAT(read(flipped, kOwn), HasSubstr("old/replay_cache.bin")) << at;
  }
}

}  // namespace
}  // namespace deepsearch
