#include "rounds/safeguard.h"

#include <gmock/gmock.h>

#include "core/rng.h"

namespace deepsearch {
namespace {

// By its definition: for every end and every period.
int64_t slow_tail(const std::vector<Token>& tokens, int64_t times) {
  const auto n = static_cast<int64_t>(tokens.size());
  int64_t longest = 0;
  for (int64_t length = 1; length <= n; ++length) {
    for (int64_t period = 1; period * times <= length; ++period) {
      bool repeats = true;
      for (int64_t i = n - length; i + period < n && repeats; ++i) {
        repeats = tokens[static_cast<size_t>(i)] == tokens[static_cast<size_t>(i + period)];
      }
      if (repeats) longest = length;
    }
  }
  return longest;
}

TEST(Safeguard, RepeatedTailIsItsDefinition) {
  RandomStream rng(1, RngPurpose::kTests, 2);
  int64_t repeating = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<Token> tokens(rng.below(12));
    for (Token& token : tokens) token = static_cast<Token>(rng.below(3));
    const std::vector<Token> piece(tokens.begin(), tokens.begin() + static_cast<int64_t>(tokens.size() / 2));
    for (uint64_t times = rng.below(5); times > 0; --times) tokens.insert(tokens.end(), piece.begin(), piece.end());
    for (const int64_t times : {2, 3, 4}) {
      const int64_t expected = slow_tail(tokens, times);
      ASSERT_EQ(repeated_tail(tokens, times), expected) << ::testing::PrintToString(tokens) << " " << times;
      if (expected > 0) ++repeating;
    }
  }
  EXPECT_GT(repeating, 1000);
  EXPECT_EQ(repeated_tail({}, 2), 0);
}

TEST(Safeguard, LongTextsTakeLinearTime) {
  std::vector<Token> tokens(2'000'000, 7);
  tokens[0] = 1;
  EXPECT_EQ(repeated_tail(tokens, 4), 1'999'999);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<Token>(i % 777'777);
  EXPECT_EQ(repeated_tail(tokens, 4), 0);
  EXPECT_EQ(repeated_tail(tokens, 2), 2'000'000);
}

TEST(Safeguard, CountsCharactersThatNoTextHas) {
  EXPECT_EQ(bad_characters("Let x = 3.\n\tThen \\(x^2 = 9\\) é ∑ 漢 😀"), 0);
  EXPECT_EQ(bad_characters("a\x01"
                           "b\x7F"),
            2);
  EXPECT_EQ(bad_characters("a\xEF\xBF\xBD"), 1);         // U+FFFD
  EXPECT_EQ(bad_characters("\xC2\x85"), 1);              // a C1 control
  EXPECT_EQ(bad_characters("\xFF\xC3"), 2);              // no UTF-8; a sequence cut off
  EXPECT_EQ(bad_characters("\xC0\xAF\xED\xA0\x80"), 5);  // overlong; a surrogate
  EXPECT_EQ(longest_run("aab---   \n\n\n\n"), 3);
  EXPECT_EQ(longest_run("éééé"), 4);
  EXPECT_EQ(longest_run(""), 0);
}

std::string letters(TokenSpan tokens) {
  std::string text;
  for (const Token token : tokens)
    text += token == 90 ? std::string("\xEF\xBF\xBD") : std::string(1, static_cast<char>('a' + token));
  return text;
}

RoundsParams small_params() {
  return {.repetition_tokens = 8, .repetition_times = 4, .garbled_characters = 2, .garbled_run = 6};
}

Safeguard small() {
  return Safeguard(small_params(), {.pad = 99, .eos = {50}, .decode = letters});
}

TEST(Safeguard, SaysWhy) {
  EXPECT_EQ(small().judge(std::vector<Token>{1, 2, 3, 4, 5, 6, 50}), Dropped::kNo);
  EXPECT_EQ(small().judge(std::vector<Token>{9, 1, 2, 1, 2, 1, 2, 1, 2}), Dropped::kRepetition);
  EXPECT_EQ(small().judge(std::vector<Token>{9, 1, 2, 1, 2, 1, 2, 1, 2, 50}), Dropped::kRepetition);
  EXPECT_EQ(small().judge(std::vector<Token>{9, 1, 2, 1, 2, 1, 2, 50}), Dropped::kNo);        // three times
  EXPECT_EQ(small().judge(std::vector<Token>{1, 2, 1, 2, 1, 2, 1, 2, 9, 50}), Dropped::kNo);  // it got out of it
  EXPECT_EQ(small().judge(std::vector<Token>{1, 99, 3}), Dropped::kGarbled);
  EXPECT_EQ(small().judge(std::vector<Token>{1, 90, 3}), Dropped::kNo);
  EXPECT_EQ(small().judge(std::vector<Token>{1, 90, 3, 90}), Dropped::kGarbled);
  EXPECT_EQ(small().judge(std::vector<Token>{3, 3, 3, 3, 3, 3, 1}), Dropped::kGarbled);
  EXPECT_EQ(small().judge({}), Dropped::kNo);
}

TEST(Safeguard, DropsIncorrectTerminalsOnly) {
  TreeRecord record;
  record.nodes.resize(1);
  const auto add = [&](const std::vector<Token>& tokens, Outcome outcome, bool recorded) {
    NodeRecord node;
    node.parent = 0;
    node.first_token = static_cast<int32_t>(record.tokens.size());
    node.n_tokens = static_cast<int32_t>(tokens.size());
    node.terminal = outcome != Outcome::kNone;
    node.outcome = outcome;
    record.tokens.insert(record.tokens.end(), tokens.begin(), tokens.end());
    if (recorded) record.recorded.push_back({.leaf = static_cast<int32_t>(record.nodes.size()), .outcome = outcome});
    record.nodes.push_back(node);
  };
  const std::vector<Token> endless(12, 2);
  add(endless, Outcome::kCorrect, true);
  add(endless, Outcome::kWrong, true);
  add({1, 2, 3}, Outcome::kWrong, true);
  add({1, 99, 3}, Outcome::kIncomplete, true);
  add(endless, Outcome::kWrong, false);
  add(endless, Outcome::kNone, false);
  EXPECT_EQ(small().apply(record), 3);
  std::vector<Dropped> why;
  for (const RecordedLeaf& leaf : record.recorded) why.push_back(leaf.dropped);
  EXPECT_THAT(why, ::testing::ElementsAre(Dropped::kNo, Dropped::kRepetition, Dropped::kNo, Dropped::kGarbled));
  EXPECT_TRUE(record.nodes[5].dropped);
  EXPECT_FALSE(record.nodes[1].dropped || record.nodes[6].dropped);
  EXPECT_EQ(dropped_text(record), "1 repetition, 1 garbled");
}

}  // namespace
}  // namespace deepsearch
