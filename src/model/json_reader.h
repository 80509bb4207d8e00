// JSON of files nobody vouches for, with errors that name the file and the key. For the .cpp files of this folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/tokens.h"

namespace deepsearch {

// bad_input ("WHERE: …") for text that is not JSON, an object with a key twice (parsers differ in which one they keep),
// or more than `max_depth` levels, checked while it parses, so that a small file cannot grow into a deep document.
nlohmann::json parse_strict(std::string_view text, int max_depth, const std::string& where);

// A value as an error shows it: one line, at most 80 characters.
std::string shown(const nlohmann::json& value);

// One JSON object. A key that is null counts as absent, as in transformers.
class JsonReader {
 public:
  static constexpr int kMaxDepth = 32;

  static JsonReader parse(std::string_view text, const std::string& where);
  JsonReader(nlohmann::json object, const std::string& where);

  const std::string& where() const { return where_; }
  const nlohmann::json& document() const { return document_; }

  const nlohmann::json* find(const char* key) const;  // nullptr: absent or null
  bool has_key(const char* key) const { return document_.contains(key); }

  // Without a fallback the key must be there.
  int64_t integer(const char* key, std::optional<int64_t> fallback = {}) const;
  double number(const char* key, std::optional<double> fallback = {}) const;  // finite
  bool boolean(const char* key, bool fallback) const;
  std::string text(const char* key, const std::string& fallback) const;
  std::optional<Token> token(const char* key) const;  // nothing: absent, or −1, which older files write for "none"
  std::vector<Token> tokens(const char* key) const;   // a token or a list of them; empty: absent

  // For a feature that changes the network: only `expected` (or nothing) can be computed here.
  void require(const char* key, const nlohmann::json& expected) const;

 private:
  const nlohmann::json& needed(const char* key) const;
  int64_t integer_of(const nlohmann::json& value, const char* key) const;
  Token token_of(const nlohmann::json& value, const char* key) const;

  std::string where_;
  nlohmann::json document_;
};

}  // namespace deepsearch
