#include "model/json_reader.h"

#include <cmath>
#include <set>
#include <utility>

#include "core/error.h"

namespace deepsearch {

using nlohmann::json;

json parse_strict(std::string_view text, int max_depth, const std::string& where) {
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start) {
      if (depth >= max_depth) bad_input("{}: nested more than {} levels deep", where, max_depth);
      keys.emplace_back();
    } else if (event == json::parse_event_t::object_end || event == json::parse_event_t::array_end) {
      keys.pop_back();
    } else if (event == json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) bad_input("{}: {} appears twice", where, shown(value));
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::exception& error) {
    const std::string reason = error.what();  // quotes what it read last, however long
    bad_input("{}: not JSON: {}", where, reason.size() > 200 ? reason.substr(0, 197) + "..." : reason);
  }
}

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

JsonReader JsonReader::parse(std::string_view text, const std::string& where) {
  return {parse_strict(text, kMaxDepth, where), where};
}

JsonReader::JsonReader(json object, const std::string& where) : where_(where), document_(std::move(object)) {
  if (!document_.is_object()) bad_input("{}: must be a JSON object, found {}", where_, shown(document_));
}

const json* JsonReader::find(const char* key) const {
  const auto found = document_.find(key);
  return found == document_.end() || found->is_null() ? nullptr : &*found;
}

const json& JsonReader::needed(const char* key) const {
  const json* value = find(key);
  if (value == nullptr) bad_input("{}: key \"{}\" is missing", where_, key);
  return *value;
}

int64_t JsonReader::integer_of(const json& value, const char* key) const {
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX)) {
    bad_input("{}: \"{}\" must be a whole number, found {}", where_, key, shown(value));
  }
  return value.get<int64_t>();
}

int64_t JsonReader::integer(const char* key, std::optional<int64_t> fallback) const {
  if (fallback && find(key) == nullptr) return *fallback;
  return integer_of(needed(key), key);
}

double JsonReader::number(const char* key, std::optional<double> fallback) const {
  if (fallback && find(key) == nullptr) return *fallback;
  const json& value = needed(key);
  if (!value.is_number() || !std::isfinite(value.get<double>())) {
    bad_input("{}: \"{}\" must be a number, found {}", where_, key, shown(value));
  }
  return value.get<double>();
}

bool JsonReader::boolean(const char* key, bool fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) bad_input("{}: \"{}\" must be true or false, found {}", where_, key, shown(*value));
  return value->get<bool>();
}

std::string JsonReader::text(const char* key, const std::string& fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) bad_input("{}: \"{}\" must be a string, found {}", where_, key, shown(*value));
  return value->get<std::string>();
}

Token JsonReader::token_of(const json& value, const char* key) const {
  const int64_t token = integer_of(value, key);
  if (token < 0 || token > INT32_MAX) bad_input("{}: \"{}\" must be a token id from 0, found {}", where_, key, token);
  return static_cast<Token>(token);
}

std::optional<Token> JsonReader::token(const char* key) const {
  const json* value = find(key);
  if (value == nullptr || *value == -1) return std::nullopt;
  return token_of(*value, key);
}

std::vector<Token> JsonReader::tokens(const char* key) const {
  const json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) return {token_of(*value, key)};
  std::vector<Token> tokens;
  for (const json& item : *value) tokens.push_back(token_of(item, key));
  return tokens;
}

void JsonReader::require(const char* key, const json& expected) const {
  const json* value = find(key);
  if (value != nullptr && *value != expected) {
    bad_input("{}: \"{}\" is {}; only {} is supported", where_, key, shown(*value), expected.dump());
  }
}

}  // namespace deepsearch
