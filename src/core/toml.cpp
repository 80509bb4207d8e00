#include "core/toml.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace deepsearch {

namespace {

constexpr uint64_t kMaxBytes = 1 << 20;
constexpr size_t kMaxDotsInKey = 32;

// What toml++ 3.3 cannot be given, looked for outside strings and comments. It nests one table for each dot of a key
// and takes them apart recursively, so that a key of half a million dots would exhaust the stack; and between U+00A1
// and U+0499 it asks whether a character is a blank by a switch without that case, which is undefined behaviour. A
// quote in the middle of a word is refused as well: to toml++ it starts no string there, and what follows is not
// quoted.
class Scan {
 public:
  Scan(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  void check() const {
    size_t dots = 0;
    for (size_t i = text_.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0; i < text_.size(); ++i) {
      const char c = text_[i];
      if (c == '#') {
        i = std::min(text_.find('\n', i), text_.size()) - 1;
      } else if (c == '"' || c == '\'') {
        if (i > 0 && kBeforeString.find(text_[i - 1]) == kBeforeString.npos) {
          bad_input("{}:{}: TOML: a quote in the middle of a word: put quotes around the whole text", name_,
                    line_of(i));
        }
        i = end_of_string(i);
      } else if (c == '.') {
        if (++dots > kMaxDotsInKey) {
          bad_input("{}:{}: a key with more than {} dots", name_, line_of(i), kMaxDotsInKey);
        }
      } else if (static_cast<unsigned char>(c) >= 0x80) {
        bad_input("{}:{}: TOML: a character outside ASCII that is in no string: put quotes around the text", name_,
                  line_of(i));
      } else if (c == '\n' || c == ',' || c == '=' || c == '[' || c == '{') {
        dots = 0;
      }
    }
  }

 private:
  // The index of the last character of the string that starts at `start`.
  size_t end_of_string(size_t start) const {
    const char quote = text_[start];
    const std::string fence(3, quote);
    const bool many_lines = text_.substr(start, 3) == fence;
    for (size_t i = start + (many_lines ? 3 : 1); i < text_.size(); ++i) {
      if (quote == '"' && text_[i] == '\\') {
        ++i;
      } else if (many_lines ? text_.substr(i, 3) == fence : text_[i] == quote) {
        if (!many_lines) return i;
        i += 2;  // quotes before the closing three are the string's
        for (int more = 0; more < 2 && i + 1 < text_.size() && text_[i + 1] == quote; ++more) ++i;
        return i;
      } else if (!many_lines && text_[i] == '\n') {
        bad_input("{}:{}: TOML: a string that is not closed on its line", name_, line_of(start));
      }
    }
    return text_.size();
  }

  size_t line_of(size_t position) const {
    return 1 +
           static_cast<size_t>(std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(position), '\n'));
  }

  static constexpr std::string_view kBeforeString = " \t\r\n=[,{.\xBF";  // a byte order mark ends in the last
  static constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  std::string_view text_;
  const std::string& name_;
};

bool asserts(std::string_view text) {
  try {
    [[maybe_unused]] const toml::table table = toml::parse(text);
  } catch (const TomlAssertion&) {
    return true;
  } catch (const toml::parse_error&) {
    return false;
  }
  return false;
}

// The parser reads forward only, so that it fails its assertion on every run of whole lines that holds the culprit and
// on no shorter one: bisection finds the line.
size_t line_of_assertion(std::string_view text) {
  std::vector<size_t> ends;  // of each line, one past its newline
  for (size_t i = text.find('\n'); i != std::string_view::npos; i = text.find('\n', i + 1)) ends.push_back(i + 1);
  ends.push_back(text.size());
  const auto found =
      std::partition_point(ends.begin(), ends.end() - 1, [&](size_t end) { return !asserts(text.substr(0, end)); });
  return 1 + static_cast<size_t>(found - ends.begin());
}

}  // namespace

toml::table parse_toml(const std::string& text, const std::string& name) {
  if (text.size() > kMaxBytes) bad_input("{} has {} bytes; at most {} are read", name, text.size(), kMaxBytes);
  Scan(text, name).check();
  try {
    return toml::parse(std::string_view(text), name);
  } catch (const TomlAssertion&) {
    bad_input("{}:{}: TOML: not a key, value or table that can be read", name, line_of_assertion(text));
  } catch (const toml::parse_error& error) {
    // toml++ quotes the text it stumbled over; keep the message to one line.
    std::string description;
    for (const char c : error.description()) {
      description += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    }
    const auto place = error.source().begin;
    bad_input("{}:{}:{}: TOML: {}", name, place.line, place.column, description);
  }
}

}  // namespace deepsearch
