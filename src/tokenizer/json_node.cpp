#include "tokenizer/json_node.h"

#include <set>

#include "tokenizer/unicode.h"

namespace deepsearch {

namespace {

using nlohmann::json;

// Counts and bounds what the parser is about to build.
class Bounds {
 public:
  explicit Bounds(const std::string& name) : name_(name) {}

  bool operator()(int depth, json::parse_event_t event, json& value) {
    using Event = json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= kMaxTokenizerDepth) bad_input("{}: nested more than {} levels deep", name_, kMaxTokenizerDepth);
      keys_.emplace_back();
    } else if (event == Event::object_end || event == Event::array_end) {
      keys_.pop_back();
    } else if (event == Event::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) bad_input("{}: key {} appears twice in an object", name_, json(key).dump());
    } else if (++n_values_ > kMaxTokenizerValues) {
      bad_input("{}: holds more than {} values", name_, kMaxTokenizerValues);
    }
    return true;
  }

 private:
  const std::string& name_;
  std::vector<std::set<std::string>> keys_;
  uint64_t n_values_ = 0;
};

}  // namespace

json parse_json_document(std::string_view text, const std::string& name) {
  if (text.size() > kMaxTokenizerBytes) {
    bad_input("{}: {} bytes; at most {} are read", name, text.size(), kMaxTokenizerBytes);
  }
  try {
    return json::parse(text.begin(), text.end(), Bounds(name));
  } catch (const json::parse_error& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 9: what; last read: 'the whole token'"
    std::string_view what = error.what();
    if (const size_t start = what.find("] "); start != std::string_view::npos) what.remove_prefix(start + 2);
    what = what.substr(0, what.find("; last read"));
    bad_input("{}: not JSON in UTF-8: {}", name, what.substr(0, 200));
  } catch (const json::out_of_range&) {
    bad_input("{}: a number that is out of range", name);
  }
}

std::string JsonNode::found() const {
  if (value_->is_string()) {
    const auto& text = value_->get_ref<const std::string&>();
    constexpr size_t kMost = 40;
    return text.size() > kMost ? fmt::format("a text of {} bytes", text.size()) : nlohmann::json(text).dump();
  }
  if (value_->is_object()) return "an object";
  if (value_->is_array()) return "a list";
  return value_->dump();
}

void JsonNode::expect_object() const {
  if (!value_->is_object()) refuse("must be an object, found {}", found());
}

JsonNode JsonNode::member(const std::string& key) const {
  return {value_->at(key), where_, path_.empty() ? key : path_ + "." + key};
}

std::optional<JsonNode> JsonNode::find(const char* key) const {
  expect_object();
  const auto at = value_->find(key);
  if (at == value_->end() || at->is_null()) return std::nullopt;
  return member(key);
}

JsonNode JsonNode::at(const char* key) const {
  const auto node = find(key);
  if (!node) refuse("key \"{}\" is missing", key);
  return *node;
}

size_t JsonNode::size() const {
  if (!value_->is_array()) refuse("must be a list, found {}", found());
  return value_->size();
}

JsonNode JsonNode::item(size_t index) const {
  if (index >= size()) refuse("item {} is missing", index);
  return {(*value_)[index], where_, fmt::format("{}[{}]", path_, index)};
}

std::vector<JsonNode> JsonNode::items() const {
  std::vector<JsonNode> nodes;
  nodes.reserve(size());
  for (size_t i = 0; i < value_->size(); ++i) nodes.push_back(item(i));
  return nodes;
}

const std::string& JsonNode::text() const {
  if (!value_->is_string()) refuse("must be a text, found {}", found());
  return value_->get_ref<const std::string&>();
}

bool JsonNode::boolean() const {
  if (!value_->is_boolean()) refuse("must be true or false, found {}", found());
  return value_->get<bool>();
}

uint64_t JsonNode::number(uint64_t most) const {
  if (!value_->is_number_unsigned() || value_->get<uint64_t>() > most) {
    refuse("must be a whole number from 0 to {}, found {}", most, found());
  }
  return value_->get<uint64_t>();
}

char32_t JsonNode::character() const {
  const std::string& value = text();
  if (value.empty() || unicode::decode(value, 0).bytes != value.size()) {
    refuse("must be one character, found {}", found());
  }
  return unicode::decode(value, 0).value;
}

bool JsonNode::boolean_or(const char* key, bool otherwise) const {
  const auto node = find(key);
  return node ? node->boolean() : otherwise;
}

std::string JsonNode::text_or_empty(const char* key) const {
  const auto node = find(key);
  return node ? node->text() : std::string();
}

size_t JsonNode::one_of(std::initializer_list<const char*> names) const {
  const std::string& value = text();
  size_t index = 0;
  std::string list;
  for (const char* const name : names) {
    if (value == name) return index;
    ++index;
    list += (list.empty() ? "" : ", ") + std::string(name);
  }
  refuse("must be one of {}; found {}", list, found());
}

}  // namespace deepsearch
