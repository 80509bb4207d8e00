// Small tokenizer.json documents for the tests: complete in their parts, tiny in their vocabulary.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/tokenizer.h"

namespace deepsearch::testing {

using nlohmann::json;

inline json added_token(int id, const std::string& content, bool special = true) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

// Every byte is a token (id = byte), then merges; the words of Llama 3; one special token.
inline json byte_level_json() {
  json vocabulary = json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    append_byte_character(text, static_cast<char>(byte));
    vocabulary[text] = byte;
  }
  json merges = json::array();
  int next = 256;
  for (const auto& [left, right] : std::vector<std::pair<std::string, std::string>>{
           {"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {"Ġ", "w"}, {"Ġ", "Ġ"}, {"a", "a"}, {"aa", "a"}}) {
    merges.push_back(left + " " + right);
    vocabulary[left + right] = next++;
  }
  const json words = {
      {"type", "Split"},
      {"pattern", {{"Regex", R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"}}},
      {"behavior", "Isolated"},
      {"invert", false}};
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const json begin = {{"id", "<s>"}, {"ids", {next}}, {"tokens", {"<s>"}}};
  return {{"added_tokens", {added_token(next, "<s>")}},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {words, bytes}}}},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}}}}}},
            {"special_tokens", {{"<s>", begin}}}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}}}};
}

// As Llama 2 has it: ▁ for spaces, one before the text, bytes for what is not in the vocabulary.
inline json sentence_piece_json() {
  json vocabulary = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  int next = 3;
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof(text), "<0x%02X>", static_cast<unsigned>(byte));
    vocabulary[text] = next++;
  }
  for (const char* const text : {"▁", "a", "b", "c", "é", "▁a", "ab", "▁ab", "▁▁"}) vocabulary[text] = next++;
  const json decoders = {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
                         {{"type", "ByteFallback"}},
                         {{"type", "Fuse"}},
                         {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}};
  const json normalizers = {{{"type", "Prepend"}, {"prepend", "▁"}},
                            {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}};
  return {{"added_tokens", {added_token(0, "<unk>"), added_token(1, "<s>"), added_token(2, "</s>")}},
          {"normalizer", {{"type", "Sequence"}, {"normalizers", normalizers}}},
          {"pre_tokenizer", nullptr},
          {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocabulary},
            {"merges", json::array({json::array({"▁", "a"}), json::array({"a", "b"}), json::array({"▁a", "b"}),
                                    json::array({"▁", "▁"})})}}}};
}

// The same with Metaspace in place of normalizer and decoder.
inline json metaspace_json() {
  json file = sentence_piece_json();
  const json metaspace = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}, {"split", false}};
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = metaspace;
  file["decoder"] = {{"type", "Sequence"}, {"decoders", {{{"type", "ByteFallback"}}, metaspace}}};
  return file;
}

inline Tokenizer tokenizer_of(const json& file) {
  return parse_tokenizer(file.dump(), "tokenizer.json");
}

}  // namespace deepsearch::testing
