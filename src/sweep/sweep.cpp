#include "sweep/sweep.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <regex>
#include <set>

#include "core/config_schema.h"
#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
#include "core/toml.h"

namespace deepsearch {

namespace {

struct Setting {
  std::string key;
  std::string value;  // TOML
  std::string shown;  // for names and tables
};
using Settings = std::vector<Setting>;
using Axis = std::vector<Settings>;  // alternatives

struct Place {
  std::string file;
  std::string operator()(const toml::node& node) const {
    const auto line = node.source().begin.line;
    return line > 0 ? fmt::format("{}:{}", file, line) : file;
  }
};

template <class Number>
std::string number_text(Number value) {
  return fmt::format("{}", value);
}

std::string float_text(double value) {
  std::string text = number_text(value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";  // TOML tells 1 from 1.0
  return text;
}

std::string toml_text(const toml::node& node, const Place& place) {
  if (const auto* text = node.as_string()) return quote_toml(text->get());
  if (const auto* number = node.as_integer()) return number_text(number->get());
  if (const auto* number = node.as_floating_point()) return float_text(number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (const auto* array = node.as_array()) {
    std::string list;
    for (const toml::node& element : *array) list += (list.empty() ? "" : ", ") + toml_text(element, place);
    return "[" + list + "]";
  }
  bad_input("{}: a number, a text, true, false or an array of them is wanted", place(node));
}

Setting setting_of(const std::string& key, const toml::node& node, const Place& place) {
  Setting setting{key, toml_text(node, place), ""};
  const auto* text = node.as_string();
  if (const auto* number = node.as_floating_point()) {
    setting.shown = number_text(number->get());
  } else {
    setting.shown = text != nullptr ? text->get() : setting.value;
  }
  if (key == "base") {
    if (text == nullptr) bad_input("{}: base: a file name is wanted", place(node));
    setting.shown = std::filesystem::path(text->get()).stem().string();
  }
  return setting;
}

// Keys of a table in the order they are written, tables below it taken apart: "search.lambda". `is_leaf` tells a value
// that is a table from a table of keys.
template <class IsLeaf>
void flatten(const toml::table& table, const std::string& prefix, const IsLeaf& is_leaf,
             std::vector<std::pair<std::string, const toml::node*>>& found) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    const auto* below = node.as_table();
    if (below != nullptr && !is_leaf(*below)) {
      flatten(*below, name + ".", is_leaf, found);
    } else {
      found.emplace_back(name, &node);
    }
  }
}

template <class IsLeaf>
std::vector<std::pair<std::string, const toml::node*>> keys_of(const toml::table& table, const IsLeaf& is_leaf) {
  std::vector<std::pair<std::string, const toml::node*>> found;
  flatten(table, "", is_leaf, found);
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    const auto at = [](const toml::node* node) {
      return std::pair{node->source().begin.line, node->source().begin.column};
    };
    return at(a.second) < at(b.second);
  });
  return found;
}

bool never(const toml::table& /*unused*/) {
  return false;
}

const toml::table& table_of(const toml::node& node, const std::string& key, const Place& place) {
  const auto* table = node.as_table();
  if (table == nullptr) bad_input("{}: [{}] is wanted, a table", place(node), key);
  return *table;
}

Settings settings_of(const toml::table& table, const Place& place) {
  Settings settings;
  for (const auto& [key, node] : keys_of(table, never)) settings.push_back(setting_of(key, *node, place));
  return settings;
}

const toml::array& values_of(const std::string& key, const toml::node& node, const Place& place) {
  const auto* array = node.as_array();
  if (array == nullptr || array->empty()) bad_input("{}: {}: an array of values is wanted", place(node), key);
  return *array;
}

std::vector<Axis> grid_axes(const toml::table& table, const Place& place) {
  std::vector<Axis> axes;
  for (const auto& [key, node] : keys_of(table, never)) {
    Axis axis;
    for (const toml::node& value : values_of(key, *node, place)) axis.push_back({setting_of(key, value, place)});
    axes.push_back(std::move(axis));
  }
  return axes;
}

Axis zipped_axis(const toml::table& table, const Place& place) {
  Axis axis;
  for (const auto& [key, node] : keys_of(table, never)) {
    const toml::array& values = values_of(key, *node, place);
    if (axis.empty()) axis.resize(values.size());
    if (axis.size() != values.size()) {
      bad_input("{}: [zipped].{} has {} values, the one before it {}: as many are wanted", place(*node), key,
                values.size(), axis.size());
    }
    for (size_t i = 0; i < axis.size(); ++i) axis[i].push_back(setting_of(key, values[i], place));
  }
  return axis;
}

Axis list_axis(const toml::node& node, const Place& place) {
  const auto* list = node.as_array();
  if (list == nullptr || list->empty()) bad_input("{}: [[list]] is wanted, a table for each point", place(node));
  Axis axis;
  for (const toml::node& entry : *list) axis.push_back(settings_of(table_of(entry, "[list]", place), place));
  return axis;
}

double number_at(const toml::table& table, const char* key, const std::string& axis, const Place& place) {
  const auto value = table[key].value<double>();
  if (!value || !std::isfinite(*value)) bad_input("{}: {}: {} is wanted, a number", place(table), axis, key);
  return *value;
}

// A value of [random]: {low, high, scale, integer} or {choices}.
Setting draw(const std::string& key, const toml::table& table, RandomStream& random, const Place& place) {
  for (const auto& [name, node] : table) {
    static const std::set<std::string_view> known = {"low", "high", "scale", "choices"};
    if (known.count(name.str()) == 0) {
      bad_input("{}: {}: unknown '{}'; low, high, scale or choices", place(node), key, std::string(name.str()));
    }
  }
  if (const toml::node* choices = table.get("choices")) {
    const toml::array& values = values_of(key, *choices, place);
    return setting_of(key, values[random.below(values.size())], place);
  }
  const double low = number_at(table, "low", key, place);
  const double high = number_at(table, "high", key, place);
  const std::string scale = table["scale"].value_or(std::string("linear"));
  if (scale != "linear" && scale != "log")
    bad_input("{}: {}: scale \"{}\"; linear or log is wanted", place(table), key, scale);
  if (low >= high || (scale == "log" && low <= 0)) {
    bad_input("{}: {}: low < high is wanted{}", place(table), key, scale == "log" ? ", both above 0" : "");
  }
  const bool whole = table["low"].is_integer() && table["high"].is_integer();
  const double uniform = random.uniform();
  double value = scale == "log" ? low * std::pow(high / low, uniform) : low + (high - low) * uniform;
  if (whole) {
    if (scale == "linear") value = std::floor(low + (high - low + 1) * uniform);
    const std::string text = number_text(std::llround(value));
    return {key, text, text};
  }
  // Three digits: the value that is written is the value that is used.
  const std::string text = fmt::format("{:.3g}", value);
  return {key, text.find_first_of(".e") == std::string::npos ? text + ".0" : text, text};
}

Axis random_axis(const toml::table& table, const Place& place) {
  const auto points = table["points"].value<int64_t>();
  if (!points || *points < 1 || *points > kMostPoints)
    bad_input("{}: [random].points = 1 to {} is wanted", place(table), kMostPoints);
  const auto seed = static_cast<uint64_t>(table["seed"].value_or<int64_t>(1));
  const auto leaf = [](const toml::table& t) {
    return t.contains("low") || t.contains("choices") || t.contains("high");
  };
  Axis axis(static_cast<size_t>(*points));
  for (const auto& [key, node] : keys_of(table, leaf)) {
    if (key == "points" || key == "seed") continue;
    if (!node->is_table()) {
      bad_input("{}: [random].{}: {{low = …, high = …}} or {{choices = […]}} is wanted", place(*node), key);
    }
    // A stream an axis: another axis more does not change the others' values.
    RandomStream random(seed, RngPurpose::kShuffle, hash_text(key));
    for (Settings& settings : axis) settings.push_back(draw(key, *node->as_table(), random, place));
  }
  return axis;
}

Axis seed_axis(const toml::node& node, const Place& place) {
  Axis axis;
  for (const toml::node& value : values_of("seeds", node, place)) {
    if (!value.is_integer()) bad_input("{}: seeds: whole numbers are wanted", place(value));
    axis.push_back({setting_of("run.seed", value, place)});
  }
  return axis;
}

Halving halving_of(const toml::table& table, const Place& place) {
  Halving halving;
  for (const auto& [key, node] : table) {
    if (key.str() == "rungs") {
      for (const toml::node& rung : values_of("rungs", node, place)) {
        const auto step = rung.value<int64_t>();
        if (!step || *step < 1 || (!halving.rungs.empty() && *step <= halving.rungs.back()))
          bad_input("{}: [halving].rungs: ascending numbers of steps are wanted", place(node));
        halving.rungs.push_back(*step);
      }
    } else if (key.str() == "keep") {
      halving.keep = node.value<double>().value_or(0);
      if (halving.keep <= 0 || halving.keep >= 1)
        bad_input("{}: [halving].keep: a share between 0 and 1 is wanted", place(node));
    } else {
      bad_input("{}: [halving] has no key '{}'; rungs and keep", place(node), std::string(key.str()));
    }
  }
  if (halving.rungs.empty()) bad_input("{}: [halving].rungs is missing", place(table));
  return halving;
}

std::string last_part(const std::string& key) {
  return key.substr(key.rfind('.') + 1);
}

std::string file_name_of(const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-' || c == '+';
    if (plain)
      name += c;
    else if (!name.empty() && name.back() != '-')
      name += '-';
  }
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name.substr(0, 120);
}

std::string default_template(const Settings& axes) {
  std::string text;
  for (const Setting& setting : axes) {
    const std::string joint = text.empty() ? "" : "-";
    if (setting.key == "run.seed")
      text += joint + "s{run.seed}";
    else if (setting.key == "base")
      text += joint + "{base}";
    else
      text += joint + last_part(setting.key) + "{" + setting.key + "}";
  }
  return text.empty() ? "point{index}" : text;
}

// {KEY} → what it is at this point.
std::string fill(const std::string& pattern, const Settings& settings, size_t index, const std::string& where) {
  std::string name;
  size_t at = 0;
  while (at < pattern.size()) {
    const size_t open = pattern.find('{', at);
    name += pattern.substr(at, open - at);
    if (open == std::string::npos) break;
    const size_t close = pattern.find('}', open);
    if (close == std::string::npos) bad_input("{}: name = \"{}\": a '{{' without '}}'", where, pattern);
    const std::string key = pattern.substr(open + 1, close - open - 1);
    const auto same = [&](const Setting& s) {
      return s.key == key || last_part(s.key) == key || (key == "seed" && s.key == "run.seed");
    };
    // Of keys that are set twice, the later counts.
    const auto found = std::find_if(settings.rbegin(), settings.rend(), same);
    if (found != settings.rend())
      name += found->shown;
    else if (key == "index")
      name += std::to_string(index);
    else
      bad_input("{}: name = \"{}\": no axis is called {}", where, pattern, key);
    at = close + 1;
  }
  return file_name_of(name);
}

void check_keys(const toml::table& root, const Place& place) {
  static const std::vector<std::string> known = {"base",   "name", "seeds",  "set",    "grid",
                                                 "zipped", "list", "random", "halving"};
  for (const auto& [key, node] : root) {
    const std::string name(key.str());
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = nearest_name(name, known);
    bad_input("{}: unknown key \"{}\" of a sweep; {}", place(node), name,
              near.empty() ? "it has base, name, seeds, set, grid, zipped, list, random, halving"
                           : "\"" + near + "\" is near");
  }
}

// Every alternative of each axis with every one of the others, the last varying fastest.
std::vector<Settings> product(const std::vector<Axis>& axes, const std::string& where) {
  std::vector<Settings> all = {{}};
  for (const Axis& axis : axes) {
    if (static_cast<int64_t>(all.size() * axis.size()) > kMostPoints)
      bad_input("{}: more than {} points", where, kMostPoints);
    std::vector<Settings> longer;
    for (const Settings& before : all) {
      for (const Settings& more : axis) {
        longer.push_back(before);
        longer.back().insert(longer.back().end(), more.begin(), more.end());
      }
    }
    all = std::move(longer);
  }
  return all;
}

std::vector<Axis> axes_of(const toml::table& root, const Place& place) {
  std::vector<Axis> axes;
  if (const toml::node* node = root.get("list")) axes.push_back(list_axis(*node, place));
  if (const toml::node* node = root.get("zipped")) axes.push_back(zipped_axis(table_of(*node, "zipped", place), place));
  if (const toml::node* node = root.get("random")) axes.push_back(random_axis(table_of(*node, "random", place), place));
  if (const toml::node* node = root.get("grid")) {
    for (Axis& axis : grid_axes(table_of(*node, "grid", place), place)) axes.push_back(std::move(axis));
  }
  if (const toml::node* node = root.get("seeds")) axes.push_back(seed_axis(*node, place));
  if (axes.empty()) bad_input("{}: no axis: [grid], [zipped], [[list]], [random] or seeds is wanted", place.file);
  return axes;
}

}  // namespace

Sweep read_sweep_text(const std::string& text, const std::filesystem::path& path) {
  const Place place{path.string()};
  const toml::table root = parse_toml(text, path.string());
  check_keys(root, place);
  Sweep sweep{.name = path.stem().string(), .points = {}, .halving = {}};
  Settings for_all;
  if (const toml::node* node = root.get("base")) for_all.push_back(setting_of("base", *node, place));
  if (const toml::node* node = root.get("set")) {
    const Settings more = settings_of(table_of(*node, "set", place), place);
    for_all.insert(for_all.end(), more.begin(), more.end());
  }
  const auto pattern = root["name"].value<std::string>();
  std::set<std::string> names;
  for (const Settings& axes : product(axes_of(root, place), place.file)) {
    SweepPoint point;
    Settings settings = for_all;
    settings.insert(settings.end(), axes.begin(), axes.end());
    for (const Setting& setting : settings) {
      if (setting.key == "base") {
        const std::string file = setting.value.substr(1, setting.value.size() - 2);
        point.config = (path.parent_path() / file).lexically_normal().string();
      } else {
        point.overrides.push_back(setting.key + "=" + setting.value);
      }
    }
    for (const Setting& setting : axes)
      point.values.emplace_back(setting.key == "run.seed" ? "seed" : setting.key, setting.shown);
    point.name = fill(pattern.value_or(default_template(axes)), settings, sweep.points.size(), place.file);
    static const std::set<std::string> reserved = {"", ".", "..", "points", "log", "sweep.json"};
    if (reserved.count(point.name) != 0) bad_input("{}: a point may not be called \"{}\"", place.file, point.name);
    if (!names.insert(point.name).second) {
      bad_input("{}: two points are called {}: put what tells them apart into name, as {{KEY}}", place.file,
                point.name);
    }
    sweep.points.push_back(std::move(point));
  }
  if (const toml::node* node = root.get("halving"))
    sweep.halving = halving_of(table_of(*node, "halving", place), place);
  return sweep;
}

Sweep read_sweep(const std::filesystem::path& path) {
  return read_sweep_text(read_file(path, 1 << 20), path);
}

}  // namespace deepsearch
