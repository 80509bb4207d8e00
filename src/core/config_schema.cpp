#include "core/config_schema.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "core/error.h"

namespace deepsearch {

namespace {

constexpr size_t kLongestName = 64;

bool is_plain_key(const std::string& key) {
  return !key.empty() && key.size() <= kLongestName && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

std::string quoted_list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + quote_toml(name);
  return text;
}

class Collector : public ConfigVisitor {
 public:
  explicit Collector(ConfigTable& table) : table_(table) {}

  void field(const FieldDoc& doc, bool& value) override { add(doc, value); }
  void field(const FieldDoc& doc, int64_t& value) override { add(doc, value); }
  void field(const FieldDoc& doc, double& value) override { add(doc, value); }
  void field(const FieldDoc& doc, std::string& value) override { add(doc, value); }
  void field(const FieldDoc& doc, std::vector<int64_t>& value) override { add(doc, value); }
  void field(const FieldDoc& doc, std::vector<double>& value) override { add(doc, value); }
  void field(const FieldDoc& doc, std::vector<std::string>& value) override { add(doc, value); }

  void table(const TableDoc& doc, const std::function<void(ConfigVisitor&)>& describe) override {
    check_key(doc.key);
    ConfigTable inner;
    inner.path = dotted_path(table_, doc.key);
    inner.key = doc.key;
    inner.meaning = doc.meaning;
    inner.decides = table_.decides & doc.decides;
    Collector collector(inner);
    describe(collector);
    table_.tables.push_back(std::move(inner));
  }

 private:
  template <class T>
  void add(const FieldDoc& doc, const T& value) {
    check_key(doc.key);
    table_.fields.push_back({doc, ConfigValue(value)});
    const ConfigField& field = table_.fields.back();
    if (const std::string complaint = value_complaint(field, field.value); !complaint.empty()) {
      failure("parameter {}: its default: {}", display_path(table_, doc.key), complaint);
    }
  }

  void check_key(const std::string& key) {
    if (!is_plain_key(key)) failure("parameter \"{}\" of [{}]: not a plain TOML key", key, table_.path);
    if (table_.path.empty() && key == "base") failure("parameter \"base\": the key is taken by inheritance");
    if (!seen_.insert(key).second) failure("parameter {} is described twice", display_path(table_, key));
  }

  ConfigTable& table_;
  std::set<std::string> seen_;
};

std::string double_to_toml(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char digits[32];
  const auto [end, status] = std::to_chars(digits, digits + sizeof digits, value);  // shortest that reads back the same
  std::string text(digits, end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string element_complaint(const FieldDoc& doc, double value, const std::string& shown) {
  if (std::isnan(value)) return "nan is not a number that can be used here";
  if (value >= doc.min && value <= doc.max) return "";
  return fmt::format("{} is outside the range: {}{}{}", shown, range_text(doc), doc.unit.empty() ? "" : " ", doc.unit);
}

std::string element_complaint(const FieldDoc& doc, const std::string& value) {
  if (value.find('\0') != std::string::npos) return "a string must not contain a zero byte";
  if (doc.choices.empty()) return "";
  if (std::find(doc.choices.begin(), doc.choices.end(), value) != doc.choices.end()) return "";
  const std::string near = nearest_name(value, doc.choices);
  return fmt::format("{} is none of {}{}", quote_toml(value.substr(0, kLongestName)), quoted_list(doc.choices),
                     near.empty() ? "" : fmt::format("; did you mean {}?", quote_toml(near)));
}

// One visitor for the scalar types and, element by element, for their arrays.
struct Complaint {
  const FieldDoc& doc;

  std::string operator()(bool) const { return ""; }
  std::string operator()(int64_t value) const {
    return element_complaint(doc, static_cast<double>(value), fmt::format("{}", value));
  }
  std::string operator()(double value) const { return element_complaint(doc, value, double_to_toml(value)); }
  std::string operator()(const std::string& value) const { return element_complaint(doc, value); }
  template <class T>
  std::string operator()(const std::vector<T>& values) const {
    for (size_t i = 0; i < values.size(); ++i) {
      if (const std::string complaint = (*this)(values[i]); !complaint.empty()) {
        return fmt::format("element {}: {}", i, complaint);
      }
    }
    return "";
  }
};

struct ToToml {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return fmt::format("{}", value); }
  std::string operator()(double value) const { return double_to_toml(value); }
  std::string operator()(const std::string& value) const { return quote_toml(value); }
  template <class T>
  std::string operator()(const std::vector<T>& values) const {
    std::string text;
    for (const T& value : values) text += (text.empty() ? "" : ", ") + (*this)(value);
    return "[" + text + "]";
  }
};

size_t edit_distance(std::string_view a, std::string_view b) {  // Levenshtein, one row at a time
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

const ConfigField* ConfigTable::find_field(std::string_view name) const {
  const auto found =
      std::find_if(fields.begin(), fields.end(), [&](const ConfigField& field) { return field.doc.key == name; });
  return found == fields.end() ? nullptr : &*found;
}

const ConfigTable* ConfigTable::find_table(std::string_view name) const {
  const auto found =
      std::find_if(tables.begin(), tables.end(), [&](const ConfigTable& table) { return table.key == name; });
  return found == tables.end() ? nullptr : &*found;
}

std::vector<std::string> ConfigTable::keys() const {
  std::vector<std::string> names;
  for (const ConfigField& field : fields) names.push_back(field.doc.key);
  for (const ConfigTable& table : tables) names.push_back(table.key);
  return names;
}

ConfigTable collect_schema(const Describe& root) {
  ConfigTable schema;
  Collector collector(schema);
  root(collector);
  return schema;
}

std::string display_path(const ConfigTable& table, std::string_view key) {
  return table.path.empty() ? std::string(key) : fmt::format("[{}].{}", table.path, key);
}

std::string dotted_path(const ConfigTable& table, std::string_view key) {
  return table.path.empty() ? std::string(key) : fmt::format("{}.{}", table.path, key);
}

std::string value_complaint(const ConfigField& field, const ConfigValue& value) {
  return std::visit(Complaint{field.doc}, value);
}

std::string range_text(const FieldDoc& doc) {
  // Bounds are written as people would: 1024, not 1024.0.
  const auto number = [](double value) { return fmt::format("{}", value); };
  const bool low = std::isfinite(doc.min);
  const bool high = std::isfinite(doc.max);
  if (low && high) return number(doc.min) + " to " + number(doc.max);
  if (low) return "at least " + number(doc.min);
  if (high) return "at most " + number(doc.max);
  return "";
}

const char* type_text(const ConfigValue& value) {
  static constexpr const char* kNames[] = {"true or false",      "an integer",           "a number",
                                           "a string",           "an array of integers", "an array of numbers",
                                           "an array of strings"};
  static_assert(std::size(kNames) == std::variant_size_v<ConfigValue>);
  return kNames[value.index()];
}

std::string choices_text(const ConfigField& field) {
  const bool array = std::holds_alternative<std::vector<std::string>>(field.value);
  return (array ? "an array of " : "one of ") + quoted_list(field.doc.choices);
}

std::string quote_toml(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += fmt::format("\\u{:04X}", byte);
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string value_to_toml(const ConfigValue& value) {
  return std::visit(ToToml{}, value);
}

std::string nearest_name(std::string_view typed, const std::vector<std::string>& known) {
  if (typed.size() > kLongestName) return "";
  std::string best;
  size_t best_distance = std::max<size_t>(2, typed.size() / 3) + 1;
  for (const std::string& name : known) {
    const size_t distance = edit_distance(typed, name);
    // Changing every letter of a short name is no likeness.
    if (distance < best_distance && distance < std::max(typed.size(), name.size())) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace deepsearch
