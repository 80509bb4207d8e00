#include "verify/case_file.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace deepsearch {

namespace {

using nlohmann::json;

constexpr size_t kMaxText = size_t{64} << 20;

std::string base64(const std::string& in, const std::string& place) {
  std::string out;
  uint32_t bits = 0;
  int n = 0;
  for (const char c : in) {
    int v = 0;
    if (c >= 'A' && c <= 'Z') {
      v = c - 'A';
    } else if (c >= 'a' && c <= 'z') {
      v = c - 'a' + 26;
    } else if (c >= '0' && c <= '9') {
      v = c - '0' + 52;
    } else if (c == '+' || c == '/') {
      v = c == '+' ? 62 : 63;
    } else if (c == '=') {
      break;
    } else {
      bad_input("{}: \"pred_b64\" holds '{}', which is not base64", place, c);
    }
    bits = bits << 6 | static_cast<uint32_t>(v);
    if ((n += 6) >= 8) out += static_cast<char>(bits >> (n -= 8) & 0xFFU);
  }
  return out;
}

std::string text_of(const json& line, const std::string& key, const std::string& place) {
  if (const auto it = line.find(key); it != line.end() && it->is_string()) return it->get<std::string>();
  if (const auto it = line.find(key + "_b64"); it != line.end() && it->is_string()) {
    return base64(it->get<std::string>(), place);
  }
  const auto parts = line.find(key + "_parts");
  if (parts == line.end() || !parts->is_array()) {
    bad_input("{}: needs \"{}\", \"{}_parts\" or \"{}_b64\"", place, key, key, key);
  }
  std::string out;
  for (const json& part : *parts) {
    if (!part.is_array() || part.size() != 2 || !part[0].is_string() || !part[1].is_number_unsigned()) {
      bad_input("{}: \"{}_parts\" must be a list of [text, count]", place, key);
    }
    const std::string& piece = part[0].get_ref<const std::string&>();
    const auto count = part[1].get<uint64_t>();
    if (!piece.empty() && count > (kMaxText - out.size()) / piece.size()) {
      bad_input("{}: \"{}_parts\" makes more than {} MiB", place, key, kMaxText >> 20);
    }
    for (uint64_t i = 0; i < count && !piece.empty(); ++i) out += piece;
  }
  return out;
}

void read_extraction(const json& value, math::ExtractionOptions& out, const std::string& place) {
  out.latex = out.expressions = out.strings = false;
  for (const json& item : value) {
    const std::string name = item.is_string() ? item.get<std::string>() : "";
    if (name == "latex") {
      out.latex = true;
    } else if (name == "expr") {
      out.expressions = true;
    } else if (name == "string") {
      out.strings = true;
    } else {
      bad_input("{}: \"extract\" must list \"latex\", \"expr\" or \"string\"", place);
    }
  }
}

void read_config(const json& config, MathOptions& out, const std::string& place) {
  for (const auto& [key, value] : config.items()) {
    try {
      if (key == "extract") {
        read_extraction(value, out.extraction, place);
      } else if (key == "boxed_priority") {
        out.extraction.boxed_priority = value.get<int>();
      } else if (key == "float_rounding") {
        out.places = value.get<int>();
        if (out.places < 0 || out.places > 1000) bad_input("{}: \"float_rounding\" must be 0 to 1000", place);
      } else if (key == "strict") {
        out.strict = value.get<bool>();
      } else if (key == "set_relation_both_ways") {
        out.set_for_relation_both_ways = value.get<bool>();
      } else if (key == "strings") {
        out.extraction.choices = value.get<std::vector<std::string>>();
      } else if (key == "lowercase") {
        out.extraction.lowercase = value.get<bool>();
      } else if (key == "fallback") {
        out.fallback = value.get<bool>();
      } else if (key == "first_match_only") {
        out.first_match_only = value.get<bool>();
      } else if (key == "repair_malformed") {
        out.repair = value.get<bool>();
      } else if (key == "answer_after_think") {
        out.extraction.answer_after_think = value.get<bool>();
      } else {
        bad_input("{}: config key \"{}\" is unknown", place, key);
      }
    } catch (const json::exception&) {
      bad_input("{}: config key \"{}\" has a value of another type", place, key);
    }
  }
}

}  // namespace

VerifierCase read_case(const json& line, const std::string& place) {
  VerifierCase out;
  if (const auto it = line.find("id"); it != line.end() && it->is_string()) out.id = it->get<std::string>();
  out.gold = text_of(line, "gold", place);
  out.response = text_of(line, "pred", place);
  if (const auto it = line.find("config"); it != line.end() && it->is_object()) read_config(*it, out.options, place);
  if (const auto it = line.find("expected"); it != line.end() && it->is_boolean())
    out.expected = it->get<bool>() ? 1 : 0;
  return out;
}

}  // namespace deepsearch
