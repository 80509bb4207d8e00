// The parameters as a tree: what a Describe lists, with the current value of each field. Loading checks files against
// it; dump_config and explain_config print it. Internal to core.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/config_visitor.h"

namespace deepsearch {

// The alternatives are the field types of ConfigVisitor; which one is held is the field's type.
using ConfigValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                                 std::vector<std::string>>;

struct ConfigField {
  FieldDoc doc;
  ConfigValue value;
};

struct ConfigTable {
  std::string path;  // "search", "rounds.filter"; "" for the root
  std::string key;
  std::string meaning;
  Results decides = kAllResults;  // of the tables around it too
  std::vector<ConfigField> fields;
  std::vector<ConfigTable> tables;

  const ConfigField* find_field(std::string_view name) const;
  const ConfigTable* find_table(std::string_view name) const;
  std::vector<std::string> keys() const;  // fields, then tables
};

// Throws failure when the description itself is wrong: a repeated or odd key, a default outside its own range.
ConfigTable collect_schema(const Describe& root);

// "[search].width", or "seed" at the root.
std::string display_path(const ConfigTable& table, std::string_view key);

// "search.width": how a value is found again when the fields are filled.
std::string dotted_path(const ConfigTable& table, std::string_view key);

// What is wrong with a value of the right type: "0 is outside 1 to 1024"; "" when nothing is.
std::string value_complaint(const ConfigField& field, const ConfigValue& value);

std::string range_text(const FieldDoc& doc);          // "1 to 1024", "at least 0"; "" when unbounded
const char* type_text(const ConfigValue& value);      // "an integer", "an array of strings"
std::string choices_text(const ConfigField& field);   // "one of "a", "b"", "an array of "a", "b""
std::string quote_toml(std::string_view text);        // a TOML basic string; control characters escaped
std::string value_to_toml(const ConfigValue& value);  // reads back to exactly the same value

// The known name nearest to a mistyped one, or "" when none is near (edit distance, longer names may differ more).
std::string nearest_name(std::string_view typed, const std::vector<std::string>& known);

}  // namespace deepsearch
