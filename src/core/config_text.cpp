// The resolved config as TOML, and the reference for people.
#include <string_view>

#include "core/config.h"
#include "core/config_schema.h"
#include "core/error.h"

namespace deepsearch {

namespace {

void dump_table(const ConfigTable& table, std::string& text) {
  if (!table.path.empty()) text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", table.path);
  for (const ConfigField& field : table.fields) {
    text += fmt::format("{} = {}\n", field.doc.key, value_to_toml(field.value));
  }
  for (const ConfigTable& inner : table.tables) dump_table(inner, text);
}

// "an integer, 1 to 1024 children"; "one of "frontier", "uct"".
std::string constraint_text(const ConfigField& field) {
  const FieldDoc& doc = field.doc;
  std::string text = doc.choices.empty() ? type_text(field.value) : choices_text(field);
  const bool array = std::string_view(type_text(field.value)).starts_with("an array");
  if (const std::string range = range_text(doc); !range.empty()) text += (array ? ", each " : ", ") + range;
  if (!doc.unit.empty()) text += fmt::format(" ({})", doc.unit);
  return text;
}

void explain_table(const ConfigTable& table, std::string& text) {
  if (!table.path.empty()) {
    text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", table.path);
    if (!table.meaning.empty()) text += table.meaning + "\n";
  }
  for (const ConfigField& field : table.fields) {
    text += fmt::format("\n  {} = {}\n", field.doc.key, value_to_toml(field.value));
    text += fmt::format("      {}\n      {}\n", field.doc.meaning, constraint_text(field));
    if ((table.decides & field.doc.decides & kTrainingResult) == 0)
      text += "      may change when a training is resumed\n";
  }
  for (const ConfigTable& inner : table.tables) explain_table(inner, text);
}

}  // namespace

std::string dump_config(const Describe& root) {
  std::string text;
  dump_table(collect_schema(root), text);
  return text;
}

std::string explain_config(const Describe& root) {
  std::string text =
      "A config is a TOML file. Values shown are the defaults; every key may be left out.\n"
      "base = \"other.toml\" at the top takes over another file's values first (relative to the file it stands in);\n"
      "--set table.key=value overrides any key from the command line.\n";
  explain_table(collect_schema(root), text);
  return text;
}

}  // namespace deepsearch
