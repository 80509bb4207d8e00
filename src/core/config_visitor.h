// How a folder describes its parameters, once. A params struct lists its fields in describe(); the same list reads
// TOML, checks types and ranges, prints `deepsearch config --explain` and writes the resolved config.
//
//   struct SearchParams {
//     int64_t width = 8;
//     void describe(ConfigVisitor& v) {
//       v.field({.key = "width", .unit = "children", .meaning = "children per expanded node", .min = 1, .max = 1024},
//       width);
//     }
//   };
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace deepsearch {

struct FieldDoc {
  std::string key;
  std::string unit;     // "" when the value has none
  std::string meaning;  // one sentence; names the paper's symbol or source where there is one
  double min = -std::numeric_limits<double>::infinity();  // inclusive; numbers (each element of an array) only
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices = {};  // strings (each element of an array) only; empty: any
};

class ConfigVisitor {
 public:
  virtual ~ConfigVisitor() = default;
  virtual void field(const FieldDoc& doc, bool& value) = 0;
  virtual void field(const FieldDoc& doc, int64_t& value) = 0;
  virtual void field(const FieldDoc& doc, double& value) = 0;
  virtual void field(const FieldDoc& doc, std::string& value) = 0;
  virtual void field(const FieldDoc& doc, std::vector<int64_t>& value) = 0;
  virtual void field(const FieldDoc& doc, std::vector<double>& value) = 0;
  virtual void field(const FieldDoc& doc, std::vector<std::string>& value) = 0;
  // A sub-table; `describe` lists its fields.
  virtual void table(const std::string& key, const std::string& meaning,
                     const std::function<void(ConfigVisitor&)>& describe) = 0;

  // An enum as one of its names. doc.choices is filled from `names`.
  template <class Enum>
  void choice(FieldDoc doc, Enum& value, const std::vector<std::pair<std::string, Enum>>& names) {
    std::string text;
    for (const auto& [name, candidate] : names) {
      doc.choices.push_back(name);
      if (candidate == value) text = name;
    }
    field(doc, text);
    for (const auto& [name, candidate] : names) {
      if (name == text) value = candidate;
    }
  }
};

using Describe = std::function<void(ConfigVisitor&)>;

}  // namespace deepsearch
