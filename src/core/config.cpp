#include "core/config.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "core/config_schema.h"
#include "core/error.h"
#include "core/files.h"
#include "core/toml.h"

namespace deepsearch {

namespace {

constexpr uint64_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxShown = 64;

// What a message shows of the user's own text: one line, not too long.
std::string shown(std::string_view text) {
  std::string quoted = quote_toml(text.substr(0, kMaxShown));
  if (text.size() > kMaxShown) quoted += "…";
  return quoted;
}

std::string shown_bare(std::string_view text) {
  const std::string quoted = shown(text);
  return quoted.size() == text.size() + 2 ? std::string(text) : quoted;  // nothing had to be escaped
}

// Where a value was written: a place in a file, or the override as a whole.
class Origin {
 public:
  static Origin file(const std::string& name) { return Origin(name, false); }
  static Origin override(const std::string& option, const std::string& text) {
    return Origin(option + " " + shown_bare(text), true);
  }

  std::string at(const toml::source_region& region) const {
    if (is_override_ || region.begin.line == 0) return name_;
    return fmt::format("{}:{}:{}", name_, region.begin.line, region.begin.column);
  }

 private:
  Origin(std::string name, bool is_override) : name_(std::move(name)), is_override_(is_override) {}
  std::string name_;
  bool is_override_;
};

std::string found_text(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return fmt::format("a string ({})", shown(node.as_string()->get()));
    case toml::node_type::integer:
      return fmt::format("an integer ({})", node.as_integer()->get());
    case toml::node_type::floating_point:
      return fmt::format("a float ({})", value_to_toml(node.as_floating_point()->get()));
    case toml::node_type::boolean:
      return fmt::format("a boolean ({})", node.as_boolean()->get());
    default:
      return "a date or time";
  }
}

template <class T>
std::optional<T> scalar_of(const toml::node& node) {
  if constexpr (std::is_same_v<T, double>) {
    if (const auto* integer = node.as_integer()) return static_cast<double>(integer->get());
  }
  if (const auto* value = node.as<T>()) return value->get();
  return std::nullopt;
}

// Turns nodes into values of the field's type, found by the alternative that its present value holds.
struct Converter {
  const toml::node& node;
  const ConfigTable& table;
  const ConfigField& field;
  const Origin& origin;

  [[noreturn]] void wrong_type(const toml::node& part, const std::string& which) const {
    const std::string expected = field.doc.choices.empty() ? type_text(field.value) : choices_text(field);
    bad_input("{}: {}{}: found {}, expected {}", origin.at(part.source()), display_path(table, field.doc.key), which,
              found_text(part), expected);
  }

  template <class T>
  ConfigValue operator()(const T&) const {
    if (const std::optional<T> value = scalar_of<T>(node)) return *value;
    wrong_type(node, "");
  }

  template <class T>
  ConfigValue operator()(const std::vector<T>&) const {
    const toml::array* array = node.as_array();
    if (array == nullptr) wrong_type(node, "");
    std::vector<T> values;
    for (const toml::node& element : *array) {
      const std::optional<T> value = scalar_of<T>(element);
      if (!value) wrong_type(element, fmt::format(" element {}", values.size()));
      values.push_back(*value);
    }
    return values;
  }
};

class Loader {
 public:
  explicit Loader(const ConfigTable& schema) : schema_(schema) {}

  // `place` is the key that asked for this file as its base, "" for the first file. It is put before errors about
  // reaching the file; errors inside the file name their own place.
  void add_file(const std::filesystem::path& path, const std::string& place) {
    std::string text;
    try {
      text = enter_file(path);
    } catch (const Error& error) {
      if (place.empty()) throw;
      throw error.within(place + ": base");
    }
    add_text(text, path.string(), path.parent_path());
    chain_.pop_back();
  }

  void add_text(const std::string& text, const std::string& name, const std::filesystem::path& folder) {
    toml::table table = parse_toml(text, name);
    const Origin origin = Origin::file(name);
    if (const toml::node* base = table.get("base")) {
      add_base(*base, origin, folder);
      table.erase("base");
    }
    add_table(table, schema_, origin);
  }

  void add_override(const std::string& text, const std::string& option) {
    const Origin origin = Origin::override(option, text);
    const size_t equals = text.find('=');
    if (equals == std::string::npos)
      bad_input("{}: expected key=value{}", origin.at({}), option == "--set" ? ", like search.width=4" : "");
    const std::string path = trimmed(text.substr(0, equals));
    std::string value = trimmed(text.substr(equals + 1));

    const ConfigTable* table = &schema_;
    std::string key = path;
    for (size_t dot = key.find('.'); dot != std::string::npos; dot = key.find('.')) {
      const std::string outer = trimmed(key.substr(0, dot));
      const ConfigTable* inner = table->find_table(outer);
      if (inner == nullptr) unknown_key(*table, outer, origin.at({}));
      table = inner;
      key = trimmed(key.substr(dot + 1));
    }
    if (path == "base") bad_input("{}: base can be given in a file only", origin.at({}));
    const ConfigField* field = table->find_field(key);
    const bool quoted = !value.empty() && (value[0] == '"' || value[0] == '\'');
    if (field != nullptr && std::holds_alternative<std::string>(field->value) && !quoted) value = quote_toml(value);

    const toml::table parsed = parse_override(value, key, field, origin);
    add_node(toml::key("value"), *parsed.get("value"), *table, key, origin);
  }

  const std::map<std::string, ConfigValue>& values() const { return values_; }

 private:
  static std::string trimmed(const std::string& text) {
    const size_t first = text.find_first_not_of(" \t\r\n");
    return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
  }

  std::string chain_text(size_t first, const std::string& last) const {
    std::string text;
    for (size_t i = first; i < chain_.size(); ++i) text += chain_[i].second + " -> ";
    return text + last;
  }

  std::string enter_file(const std::filesystem::path& path) {
    std::error_code ignored;
    const auto identity = std::filesystem::weakly_canonical(path, ignored);
    for (size_t i = 0; i < chain_.size(); ++i) {
      if (chain_[i].first == identity) bad_input("a config that includes itself: {}", chain_text(i, path.string()));
    }
    chain_.emplace_back(identity, path.string());
    return read_file(path, kMaxFileBytes);
  }

  void add_base(const toml::node& base, const Origin& origin, const std::filesystem::path& folder) {
    const auto* name = base.as_string();
    if (name == nullptr) {
      bad_input("{}: base: found {}, expected a file name", origin.at(base.source()), found_text(base));
    }
    if (name->get().empty() || name->get().find('\0') != std::string::npos) {
      bad_input("{}: base: {} is no file name", origin.at(base.source()), shown(name->get()));
    }
    const std::filesystem::path path = (folder / name->get()).lexically_normal();
    add_file(path, origin.at(base.source()));
  }

  static toml::table parse_override(const std::string& value, const std::string& key, const ConfigField* field,
                                    const Origin& origin) {
    if (value.empty()) bad_input("{}: no value after the equals sign", origin.at({}));
    if (value.find('\n') == std::string::npos) {  // text behind a line end would be a second assignment
      try {
        return parse_toml("value = " + value, "");
      } catch (const Error&) {
        // reported below, without line and column, which would count an invented prefix
      }
    }
    bad_input("{}: {} is not a TOML value for {}{}", origin.at({}), shown(value), shown_bare(key),
              field == nullptr ? "" : fmt::format(", which is {}", type_text(field->value)));
  }

  void add_table(const toml::table& table, const ConfigTable& schema, const Origin& origin) {
    // In the order of the file, so that the first error reported is the first in the file.
    std::vector<std::pair<const toml::key*, const toml::node*>> entries;
    for (const auto& [key, node] : table) entries.emplace_back(&key, &node);
    std::stable_sort(entries.begin(), entries.end(),
                     [](const auto& a, const auto& b) { return a.first->source().begin < b.first->source().begin; });
    for (const auto& [key, node] : entries) add_node(*key, *node, schema, std::string(key->str()), origin);
  }

  void add_node(const toml::key& written, const toml::node& node, const ConfigTable& schema, const std::string& key,
                const Origin& origin) {
    if (const ConfigTable* inner = schema.find_table(key)) {
      if (!node.is_table()) {
        bad_input("{}: [{}]: found {}, expected a table", origin.at(written.source()), inner->path, found_text(node));
      }
      add_table(*node.as_table(), *inner, origin);
      return;
    }
    const ConfigField* field = schema.find_field(key);
    if (field == nullptr) unknown_key(schema, key, origin.at(written.source()));
    ConfigValue value = std::visit(Converter{node, schema, *field, origin}, field->value);
    if (const std::string complaint = value_complaint(*field, value); !complaint.empty()) {
      bad_input("{}: {}: {}", origin.at(node.source()), display_path(schema, key), complaint);
    }
    values_[dotted_path(schema, key)] = std::move(value);
  }

  [[noreturn]] void unknown_key(const ConfigTable& table, const std::string& key, const std::string& place) const {
    const std::string what = display_path(table, shown_bare(key));
    if (const std::string near = nearest_name(key, table.keys()); !near.empty()) {
      bad_input("{}: unknown key {}; did you mean {}?", place, what, quote_toml(near));
    }
    std::string elsewhere;
    find_elsewhere(schema_, key, elsewhere);
    if (!elsewhere.empty()) bad_input("{}: unknown key {}; did you mean {}?", place, what, elsewhere);
    std::string known;
    for (const std::string& name : table.keys()) known += (known.empty() ? "" : ", ") + name;
    bad_input("{}: unknown key {}; known here: {}", place, what, known.empty() ? "nothing" : known);
  }

  static void find_elsewhere(const ConfigTable& table, const std::string& key, std::string& found) {
    if (found.empty() && table.find_field(key) != nullptr) found = display_path(table, key);
    for (const ConfigTable& inner : table.tables) find_elsewhere(inner, key, found);
  }

  const ConfigTable& schema_;
  std::vector<std::pair<std::filesystem::path, std::string>> chain_;  // files being read, outermost first
  std::map<std::string, ConfigValue> values_;                         // by dotted path; later files overwrite
};

// Puts the checked values into the fields. Nothing can fail here, so that a params struct is never half filled.
class Filler : public ConfigVisitor {
 public:
  explicit Filler(const std::map<std::string, ConfigValue>& values) : values_(values) {}

  void field(const FieldDoc& doc, bool& value) override { fill(doc, value); }
  void field(const FieldDoc& doc, int64_t& value) override { fill(doc, value); }
  void field(const FieldDoc& doc, double& value) override { fill(doc, value); }
  void field(const FieldDoc& doc, std::string& value) override { fill(doc, value); }
  void field(const FieldDoc& doc, std::vector<int64_t>& value) override { fill(doc, value); }
  void field(const FieldDoc& doc, std::vector<double>& value) override { fill(doc, value); }
  void field(const FieldDoc& doc, std::vector<std::string>& value) override { fill(doc, value); }

  void table(const TableDoc& doc, const std::function<void(ConfigVisitor&)>& describe) override {
    const std::string outer = prefix_;
    prefix_ += doc.key + ".";
    describe(*this);
    prefix_ = outer;
  }

 private:
  template <class T>
  void fill(const FieldDoc& doc, T& value) {
    if (const auto found = values_.find(prefix_ + doc.key); found != values_.end()) value = std::get<T>(found->second);
  }

  const std::map<std::string, ConfigValue>& values_;
  std::string prefix_;
};

void apply_overrides(Loader& loader, const std::vector<std::string>& overrides, const Describe& root,
                     const std::string& option) {
  for (const std::string& text : overrides) loader.add_override(text, option);
  Filler filler(loader.values());
  root(filler);
}

}  // namespace

void load_config(const std::string& path, const std::vector<std::string>& overrides, const Describe& root,
                 const std::string& option) {
  const ConfigTable schema = collect_schema(root);
  Loader loader(schema);
  if (!path.empty()) loader.add_file(path, "");
  apply_overrides(loader, overrides, root, option);
}

void load_config_text(const std::string& text, const std::string& name, const std::vector<std::string>& overrides,
                      const Describe& root) {
  const ConfigTable schema = collect_schema(root);
  Loader loader(schema);
  loader.add_text(text, name, "");
  apply_overrides(loader, overrides, root, "--set");
}

}  // namespace deepsearch
