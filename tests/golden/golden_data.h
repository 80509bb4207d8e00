// Golden data of the shared folder: where it is, and comparing JSON with tolerances.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace deepsearch::testing {

using Json = nlohmann::json;

inline std::filesystem::path golden_file(const std::string& name) {
  const char* set = std::getenv("DEEPSEARCH_SHARED");
  return std::filesystem::path(set != nullptr ? set : DEEPSEARCH_SHARED_DEFAULT) / "golden" / name;
}

// One JSON value a line; empty when the file is not there.
inline std::vector<Json> golden_lines(const std::string& name) {
  std::vector<Json> lines;
  std::ifstream file(golden_file(name));
  for (std::string line; std::getline(file, line);) lines.push_back(Json::parse(line));
  return lines;
}

// Relative, absolute below 1.
inline bool is_near(double expected, double actual, double tolerance) {
  return std::abs(expected - actual) <= tolerance * std::max(1.0, std::abs(expected));
}

// Empty when equal: structure, strings, booleans and integers exactly, other numbers within the tolerance. Otherwise
// says where the first difference is.
inline std::string difference(const Json& expected, const Json& actual, double tolerance, const std::string& at = "") {
  const auto differ = [&] { return at + ": expected " + expected.dump() + ", got " + actual.dump(); };
  if (expected.is_number_float() || actual.is_number_float()) {
    if (!expected.is_number() || !actual.is_number()) return differ();
    return is_near(expected.get<double>(), actual.get<double>(), tolerance) ? "" : differ();
  }
  if (expected.is_object() && actual.is_object()) {
    if (expected.size() != actual.size()) return differ();
    for (const auto& [key, value] : expected.items()) {
      if (!actual.contains(key)) return differ();
      if (auto found = difference(value, actual[key], tolerance, at + "." + key); !found.empty()) return found;
    }
    return "";
  }
  if (expected.is_array() && actual.is_array()) {
    for (size_t i = 0; i < std::min(expected.size(), actual.size()); ++i) {
      const auto place = at + "[" + std::to_string(i) + "]";
      if (auto found = difference(expected[i], actual[i], tolerance, place); !found.empty()) return found;
    }
    return expected.size() == actual.size() ? ""
                                            : at + ": " + std::to_string(expected.size()) + " entries expected, " +
                                                  std::to_string(actual.size()) + " came";
  }
  return expected == actual ? "" : differ();
}

#define DEEPSEARCH_NEEDS_GOLDEN(lines, name)                        \
  if ((lines).empty())                                              \
  GTEST_SKIP() << "no " << ::deepsearch::testing::golden_file(name) \
               << ": set DEEPSEARCH_SHARED to the shared folder (the one that holds golden/) to run this test"

}  // namespace deepsearch::testing
