// tokenizer.json from anywhere: it is read or refused as bad input, in one line; what is read encodes and decodes short
// texts, and a stream gives what decode gives.
#include <cstdint>
#include <cstdio>

#include "core/error.h"
#include "fuzz/seeds.h"
#include "tokenizer/sample_tokenizers.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

namespace deepsearch {
namespace {

using nlohmann::json;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

template <class F>
void refuses_properly(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    const std::string_view what = error.what();
    expect(error.exit_code() == kExitBadInput, "an error that the user did not cause");
    expect(what.find('\n') == std::string_view::npos, "a complaint of several lines");
  }
}

void use(const Tokenizer& tokenizer) {
  for (const char* const text : {"hello  a1\n", "é ab<s>", "\u0301日😀"}) {
    refuses_properly([&] {
      std::vector<Token> ids = tokenizer.encode(text, true);
      ids.resize(std::min<size_t>(ids.size(), 64));
      for (Token id = 0; id < 8; ++id) ids.push_back(id);
      StreamDecoder stream(tokenizer);
      std::string joined;
      for (const Token id : ids) {
        joined += stream.append(id);
        (void)tokenizer.token_bytes(id);
      }
      joined += stream.flush();
      expect(joined == tokenizer.decode(ids), "a stream that differs from decode");
      expect(unicode::find_invalid(joined) == std::string_view::npos, "a text that is not UTF-8");
    });
  }
}

json word_level() {
  return {{"model", {{"type", "WordLevel"}, {"vocab", {{"a", 0}, {"hello", 1}, {"?", 2}}}, {"unk_token", "?"}}},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "NFKC"}},
              {{"type", "Lowercase"}},
              {{"type", "StripAccents"}},
              {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}}}}}},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Whitespace"}},
              {{"type", "Digits"}, {"individual_digits", true}},
              {{"type", "Punctuation"}, {"behavior", "Contiguous"}},
              {{"type", "BertPreTokenizer"}}}}}},
          {"post_processor", {{"type", "BertProcessing"}, {"cls", {"a", 0}}, {"sep", {"?", 2}}}},
          {"decoder", {{"type", "BPEDecoder"}, {"suffix", "o"}}}};
}

json small_bpe(const char* regex) {
  return {{"added_tokens", {testing::added_token(6, "<s>", false)}},
          {"model",
           {{"type", "BPE"},
            {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}, {"é", 3}, {" ", 4}, {"1", 5}}},
            {"merges", {"a b"}}}},
          {"pre_tokenizer",
           {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "MergedWithNext"}, {"invert", true}}}};
}

std::vector<std::string> seeds() {
  std::vector<std::string> all = {testing::byte_level_json().dump(), testing::sentence_piece_json().dump(),
                                  testing::metaspace_json().dump(), word_level().dump()};
  for (const char* const regex : {R"((?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+)",
                                  R"([^\S\n]+|[\W_])", R"(\b(?<=a)b*?|\h{,2}(?<!é)|(a|b)\1)"}) {
    all.push_back(small_bpe(regex).dump());
  }
  return all;
}

}  // namespace
}  // namespace deepsearch

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  deepsearch::fuzz::write_seeds_if_asked(*argc, *argv, deepsearch::seeds());
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  deepsearch::refuses_properly([&] { deepsearch::use(deepsearch::parse_tokenizer(text, "tokenizer.json")); });
  return 0;
}
