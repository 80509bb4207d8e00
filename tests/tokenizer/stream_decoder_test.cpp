// Property: the texts of a stream, joined, are decode of all ids, and each holds whole characters.
#include <random>

#include <gtest/gtest.h>

#include "sample_tokenizers.h"
#include "tokenizer/unicode.h"

namespace deepsearch {
namespace {

using testing::json;
using testing::tokenizer_of;

std::vector<json> samples() {
  json pieces = testing::byte_level_json();
  pieces["decoder"] = {{"type", "Sequence"},
                       {"decoders",
                        {{{"type", "Fuse"}},
                         {{"type", "Replace"}, {"pattern", {{"Regex", "h(e|l)*"}}}, {"content", "_"}},
                         {{"type", "Strip"}, {"content", "a"}, {"start", 2}, {"stop", 3}}}}};
  json joined = testing::byte_level_json();
  joined["decoder"] = nullptr;
  json suffixed = testing::byte_level_json();
  suffixed["decoder"] = {{"type", "BPEDecoder"}, {"suffix", "a"}};
  return {
      testing::byte_level_json(), testing::sentence_piece_json(), testing::metaspace_json(), pieces, joined, suffixed};
}

TEST(StreamDecoder, GivesWhatDecodeGivesInWholeCharacters) {
  std::mt19937 rng(7);
  for (const json& file : samples()) {
    const Tokenizer tokenizer = tokenizer_of(file);
    for (int round = 0; round < 2000; ++round) {
      std::vector<Token> ids(rng() % 12);
      for (Token& id : ids) id = static_cast<Token>(rng() % static_cast<unsigned>(tokenizer.id_limit() + 2));
      const bool skip = rng() % 2 == 0;
      StreamDecoder stream(tokenizer, skip);
      std::string joined;
      for (const Token id : ids) {
        const std::string text = stream.append(id);
        EXPECT_EQ(unicode::find_invalid(text), std::string::npos);
        joined += text;
      }
      joined += stream.flush();
      EXPECT_EQ(joined, tokenizer.decode(ids, skip));
      EXPECT_EQ(unicode::find_invalid(joined), std::string::npos);
    }
  }
}

TEST(StreamDecoder, HoldsBackOnlyWhatIsOpen) {
  const Tokenizer tokenizer = tokenizer_of(testing::byte_level_json());
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.append('a'), "a");
  EXPECT_EQ(stream.append(0xE2), "");
  EXPECT_EQ(stream.append(0x82), "");
  EXPECT_EQ(stream.append(0xAC), "€");
  EXPECT_EQ(stream.append(0xE2), "");
  EXPECT_EQ(stream.append('b'), "\uFFFDb");
  EXPECT_EQ(stream.append(0xF0), "");
  EXPECT_EQ(stream.flush(), "\uFFFD");
  EXPECT_EQ(stream.append('c'), "c") << "starts anew";
}

TEST(StreamDecoder, ByteRunsAreTextOnlyAsAWhole) {
  const Tokenizer tokenizer = tokenizer_of(testing::sentence_piece_json());
  const auto id = [&](const char* text) { return tokenizer.token_id(text).value(); };
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.append(id("▁ab")), "ab");
  EXPECT_EQ(stream.append(id("<0xC3>")), "");
  EXPECT_EQ(stream.append(id("<0xA9>")), "") << "a byte that follows could still spoil it";
  EXPECT_EQ(stream.append(id("a")), "éa");
  EXPECT_EQ(stream.append(id("<0xC3>")), "");
  EXPECT_EQ(stream.append(id("▁a")), "\uFFFD a");
}

// What stop strings are looked for in: bytes of tokens, joined, are the text but for its first space.
TEST(StreamDecoder, BytesOfTokensJoinToTheText) {
  const Tokenizer bytes = tokenizer_of(testing::byte_level_json());
  const Tokenizer sentence = tokenizer_of(testing::sentence_piece_json());
  for (const std::string text : {"hello  wörld 日本 <s>x", "ab  ab\n€uro"}) {
    std::string joined;
    for (const Token id : bytes.encode(text)) joined += bytes.token_bytes(id);
    EXPECT_EQ(joined, text);
    joined.clear();
    for (const Token id : sentence.encode("ab" + text.substr(0, 2))) joined += sentence.token_bytes(id);
    EXPECT_EQ(joined, " ab" + text.substr(0, 2));
  }
}

}  // namespace
}  // namespace deepsearch
