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

// The results that a key decides: with another value they would be others. What is resumed (run/resume_config.h) must
// agree in the keys that decide it; where and how fast a run goes decides none.
using Results = uint8_t;
constexpr Results kNoResult = 0;
constexpr Results kTrainingResult = 1;
constexpr Results kFilterResult = 2;
constexpr Results kEvaluationResult = 4;
constexpr Results kAllResults = kTrainingResult | kFilterResult | kEvaluationResult;

struct FieldDoc {
  std::string key;
  std::string unit;     // "" when the value has none
  std::string meaning;  // one sentence; names the paper's symbol or source where there is one
  double min = -std::numeric_limits<double>::infinity();  // inclusive; numbers (each element of an array) only
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices = {};  // strings (each element of an array) only; empty: any
  Results decides = kAllResults;          // of those that its table decides
};

struct TableDoc {
  std::string key;
  std::string meaning;
  Results decides = kAllResults;  // of those that the table it lies in decides
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
  virtual void table(const TableDoc& doc, const std::function<void(ConfigVisitor&)>& describe) = 0;

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
