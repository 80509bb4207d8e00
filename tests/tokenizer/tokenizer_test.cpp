// Encoding on small tokenizers whose results can be read off; tests/oracle/bpe_oracle.py compares real ones.
#include "tokenizer/tokenizer.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "data/task.h"
#include "data/task_testing.h"
#include "sample_tokenizers.h"

namespace deepsearch {
namespace {

using testing::added_token;
using testing::byte_level_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::json;
using testing::metaspace_json;
using testing::sentence_piece_json;
using testing::tokenizer_of;

std::vector<std::string> texts_of(const Tokenizer& tokenizer, const std::vector<Token>& ids) {
  std::vector<std::string> texts;
  for (const Token id : ids) texts.push_back(tokenizer.token_text(id).value_or("?"));
  return texts;
}

std::vector<std::string> pieces(const json& file, const std::string& text) {
  const Tokenizer tokenizer = tokenizer_of(file);
  return texts_of(tokenizer, tokenizer.encode(text));
}

TEST(Encode, MergesByRankLeftmostFirst) {
  EXPECT_THAT(pieces(byte_level_json(), "hello world"), ElementsAre("hello", "Ġw", "o", "r", "l", "d"));
  EXPECT_THAT(pieces(byte_level_json(), "aaaa"), ElementsAre("aa", "aa"));
  EXPECT_THAT(pieces(byte_level_json(), "aaaaa"), ElementsAre("aa", "aaa"));
  EXPECT_THAT(pieces(byte_level_json(), "hellhe"), ElementsAre("hell", "he"));
  EXPECT_THAT(pieces(byte_level_json(), ""), IsEmpty());
}

// Long pieces go through a queue, short ones through a scan: the same merges either way.
TEST(Encode, LongPiecesMergeAsShortOnesDo) {
  const Tokenizer tokenizer = tokenizer_of(byte_level_json());
  for (size_t n = 1; n < 70; ++n) {
    std::vector<std::string> expected(n / 2, "aa");
    if (n % 2 == 1 && n > 1) expected.back() = "aaa";
    if (n == 1) expected = {"a"};
    EXPECT_EQ(texts_of(tokenizer, tokenizer.encode(std::string(n, 'a'))), expected) << n;
  }
}

TEST(Encode, SpecialTokensInTextAndAround) {
  const Tokenizer tokenizer = tokenizer_of(byte_level_json());
  const Token begin = tokenizer.token_id("<s>").value();
  EXPECT_THAT(tokenizer.encode("a<s>a"), ElementsAre('a', begin, 'a'));
  EXPECT_THAT(tokenizer.encode("a<s", true), ElementsAre(begin, 'a', '<', 's'));
  EXPECT_TRUE(tokenizer.is_special(begin));
  EXPECT_FALSE(tokenizer.is_special('a'));
  EXPECT_EQ(tokenizer.decode(std::vector<Token>{begin, 'a'}, true), "a");
  EXPECT_EQ(tokenizer.decode(std::vector<Token>{begin, 'a'}), "<s>a");
}

TEST(Encode, AddedTokensTakeSpaceAndStandAlone) {
  json file = byte_level_json();
  json left = added_token(265, "[L]");
  left["lstrip"] = true;
  json word = added_token(266, "wd", false);
  word["single_word"] = true;
  json right = added_token(267, "[LL]");
  right["rstrip"] = true;
  for (const json& token : {left, word, right}) file["added_tokens"].push_back(token);
  EXPECT_THAT(pieces(file, "b \n[L] c"), ElementsAre("b", "[L]", "Ġ", "c"));
  EXPECT_THAT(pieces(file, "[LL] \t c"), ElementsAre("[LL]", "c"));
  EXPECT_THAT(pieces(file, "wd-wdb"), ElementsAre("wd", "-", "w", "d", "b"));
  EXPECT_THAT(pieces(file, "[L[LL]"), ElementsAre("[", "L", "[LL]"));
}

TEST(Encode, FallsBackToBytes) {
  EXPECT_THAT(pieces(sentence_piece_json(), "ab é€"), ElementsAre("▁ab", "▁", "é", "<0xE2>", "<0x82>", "<0xAC>"));
  EXPECT_THAT(pieces(sentence_piece_json(), "<s>a"), ElementsAre("<s>", "▁a"));
}

TEST(Encode, MetaspacePrependsAtTheStartOnly) {
  EXPECT_THAT(pieces(metaspace_json(), "ab<s>ab"), ElementsAre("▁ab", "<s>", "ab"));
  json file = metaspace_json();
  file["pre_tokenizer"]["prepend_scheme"] = "always";
  EXPECT_THAT(pieces(file, "ab<s>ab"), ElementsAre("▁ab", "<s>", "▁ab"));
  file["pre_tokenizer"]["prepend_scheme"] = "never";
  EXPECT_THAT(pieces(file, "ab ab"), ElementsAre("ab", "▁ab"));
}

TEST(Encode, TextThatIsNotUtf8IsRefusedWithTheByte) {
  const Tokenizer tokenizer = tokenizer_of(byte_level_json());
  for (const char* const text : {"ab\xFF", "ab\xC0\x80", "ab\xED\xA0\x80", "ab\xE2\x82", "ab\xF4\x90\x80\x80"}) {
    try {
      tokenizer.encode(text);
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), kExitBadInput);
      EXPECT_THAT(error.what(), HasSubstr("byte 2 is not UTF-8"));
    }
  }
}

TEST(Encode, ThreadsShareOneTokenizer) {
  const Tokenizer tokenizer = tokenizer_of(byte_level_json());
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "hello world " + std::to_string(i * 7919);
  const std::vector<Token> expected = tokenizer.encode(text);
  std::vector<std::vector<Token>> found(4);
  {
    std::vector<std::jthread> threads;
    threads.reserve(found.size());
    for (auto& ids : found) threads.emplace_back([&] { ids = tokenizer.encode(text); });
  }
  for (const auto& ids : found) EXPECT_EQ(ids, expected);
}

// The embedded tasks write tokenizer.json too: read back, it is their own tokeniser.
TEST(Encode, AgreesWithTheEmbeddedTasks) {
  for (const std::string& name : task_names()) {
    const auto task = testing::task_named(name);
    const Tokenizer tokenizer = parse_tokenizer(tokenizer_json(*task), name);
    for (uint64_t index = 0; index < 20; ++index) {
      const Example example = task->demonstration(index);
      EXPECT_EQ(tokenizer.encode(example.problem.prompt), task->encode(example.problem.prompt));
      EXPECT_EQ(tokenizer.decode(example.solution), task->decode(example.solution));
    }
    EXPECT_THROW(tokenizer.encode("no such words"), Error);
  }
}

TEST(Tokens, BytesOfEach) {
  const Tokenizer bytes = tokenizer_of(byte_level_json());
  EXPECT_EQ(bytes.token_bytes(0xE2), "\xE2");
  EXPECT_EQ(bytes.token_bytes(bytes.token_id("Ġw").value()), " w");
  EXPECT_EQ(bytes.token_bytes(bytes.token_id("<s>").value()), "<s>");
  EXPECT_EQ(bytes.token_bytes(100000), "");
  const Tokenizer sentence = tokenizer_of(sentence_piece_json());
  EXPECT_EQ(sentence.token_bytes(sentence.token_id("<0xE2>").value()), "\xE2");
  EXPECT_EQ(sentence.token_bytes(sentence.token_id("▁ab").value()), " ab");
  EXPECT_EQ(bytes.vocabulary_size(), 265U);
  EXPECT_EQ(bytes.id_limit(), 265);
}

}  // namespace
}  // namespace deepsearch
