// A value of a JSON document together with where it stands, so that every complaint about it is one line that names
// the file and the path ("tokenizer.json: model.merges[3]: …"). A node refers to its document, which must outlive it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace deepsearch {

inline constexpr uint64_t kMaxTokenizerBytes = uint64_t{256} << 20;
inline constexpr uint64_t kMaxTokenizerValues = uint64_t{1} << 26;  // all values of a document, however deep
inline constexpr int kMaxTokenizerDepth = 32;

// Reads a document and refuses what JSON leaves open: a key that comes twice, depth or size without a bound.
nlohmann::json parse_json_document(std::string_view text, const std::string& name);

class JsonNode {
 public:
  JsonNode(const nlohmann::json& value, std::string where, std::string path = "")
      : value_(&value), where_(std::move(where)), path_(std::move(path)) {}

  const nlohmann::json& json() const { return *value_; }
  std::string place() const { return path_.empty() ? where_ : where_ + ": " + path_; }

  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    bad_input("{}: {}", place(), fmt::format(format, std::forward<Args>(args)...));
  }

  // Of an object: the value under `key`; absent and null are the same to `find`, and refused by `at`.
  std::optional<JsonNode> find(const char* key) const;
  JsonNode at(const char* key) const;
  JsonNode member(const std::string& key) const;  // a key that is there

  // Of a list.
  size_t size() const;
  JsonNode item(size_t index) const;
  std::vector<JsonNode> items() const;

  const std::string& text() const;
  bool boolean() const;
  uint64_t number(uint64_t most) const;  // whole, from 0 to `most`
  char32_t character() const;            // a text of one character
  void expect_object() const;

  bool boolean_or(const char* key, bool otherwise) const;
  std::string text_or_empty(const char* key) const;

  // The position of the text in `names`, else refused with the list of them.
  size_t one_of(std::initializer_list<const char*> names) const;

 private:
  std::string found() const;  // what kind of value it is, for messages

  const nlohmann::json* value_;
  std::string where_, path_;
};

}  // namespace deepsearch
