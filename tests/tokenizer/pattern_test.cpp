#include "tokenizer/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tokenizer/unicode.h"

namespace deepsearch {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> matches(const Pattern& pattern, const std::string& text) {
  std::vector<std::string> found;
  for (const Match& match : pattern.find_all(text)) found.push_back(text.substr(match.begin, match.end - match.begin));
  return found;
}

std::vector<std::string> matches(const char* regex, const std::string& text) {
  return matches(Pattern::regex(regex), text);
}

TEST(Pattern, ReadsOnigurumasSyntax) {
  EXPECT_THAT(matches(R"(\h+)", "xaF9g"), ElementsAre("aF9"));
  EXPECT_THAT(matches("a{,2}b", "aaab"), ElementsAre("aab"));
  EXPECT_THAT(matches("(?m:a.)", "a\n"), ElementsAre("a\n"));
  EXPECT_THAT(matches("^b$", "a\nb\nc"), ElementsAre("b"));
  EXPECT_THAT(matches(R"([^\S\n]+)", "a \n\tb"), ElementsAre(" ", "\t"));
  EXPECT_THAT(matches(R"([\W_]+)", "a_-b"), ElementsAre("_-"));
  EXPECT_THAT(matches(R"([^\W\d]+)", "a1b"), ElementsAre("a", "b"));
  EXPECT_THAT(matches(R"(\bé\b)", "é éa"), ElementsAre("é"));
  EXPECT_THAT(matches(R"(\u00e9\x{1F600})", "é😀"), ElementsAre("é😀"));
  EXPECT_THAT(matches(R"(\p{^L}+|\P{N})", "a1"), ElementsAre("a", "1"));
  EXPECT_THAT(matches("{x", "{x"), ElementsAre("{x"));
}

// Spaces are Unicode's White_Space; letters those of Unicode 16, also where PCRE2's tables are older.
TEST(Pattern, KnowsTheClassesOfTheReference) {
  EXPECT_THAT(matches(R"(\s)", "\u180e\u0085\u3000"), ElementsAre("\u0085", "\u3000"));
  EXPECT_THAT(matches(R"(\p{L}+)", "a\U00031350b"), ElementsAre("a\U00031350b"));
  EXPECT_THAT(matches(R"([^\s\p{L}]+)", "a\U00031350-"), ElementsAre("-"));
  EXPECT_TRUE(unicode::has_recent_characters("a\U00031350"));
  EXPECT_FALSE(unicode::has_recent_characters("aé日本😀"));
}

TEST(Pattern, EmptyMatches) {
  EXPECT_THAT(matches("x*", "axb"), ElementsAre("", "x", ""));
  EXPECT_THAT(matches(Pattern::literal(""), "é"), ElementsAre("", ""));
  EXPECT_EQ(Pattern::regex("a*").replace_all("baac", "-"), "-b-c-");
  EXPECT_EQ(Pattern::literal("ab").replace_all("ababa", ""), "a");
}

TEST(Pattern, WhatWouldMeanSomethingElseIsRefused) {
  for (const char* const regex :
       {"[[a]b]", "[a&&b]", "[[:alpha:]]", "a{1,2}+", "a{2}?", "(?R)",        "(?1)",     "(*FAIL)",
        "\\R",    "\\X",    "\\C",         "\\k<a>",  "\\Qa",  "\\pL",        "b(?i)a|c", "(?x)a",
        "(?s)a",  "\\12",   "[z-a]",       "[a-\\d]", "\\xff", "\\x{110000}", "\\"}) {
    EXPECT_THROW(Pattern::regex(regex), Error) << regex;
  }
}

TEST(Pattern, BacktracksWithinBounds) {
  const Pattern slow = Pattern::regex(R"((a+)+\1$)");
  EXPECT_THROW(slow.find_all(std::string(60, 'a') + "b"), Error);
  // A long text is no reason to give up.
  const Pattern words = Pattern::regex(R"([^\r\n\p{L}\p{N}]?\p{L}+|\s*[\r\n]+|\s+(?!\S)|\s+)");
  EXPECT_THAT(words.find_all(std::string(1 << 20, ' ') + "a"), ::testing::SizeIs(2));
  EXPECT_THAT(words.find_all(std::string(1 << 20, 'a')), ::testing::SizeIs(1));
}

}  // namespace
}  // namespace deepsearch
