#include "verify/boxes.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace deepsearch::math {

size_t closing_brace(Scan& scan, std::string_view s, size_t open) {
  int depth = 0;
  size_t k = open;
  for (; k < s.size(); ++k) {
    if (s[k] == '\\' && k + 1 < s.size() && (s[k + 1] == '{' || s[k + 1] == '}')) {
      ++k;
    } else if (s[k] == '{') {
      ++depth;
    } else if (s[k] == '}' && --depth == 0) {
      break;
    }
  }
  k = std::min(k, s.size());
  return scan.spend(k - open) && k < s.size() ? k : kNone;
}

namespace {

// A box whose command starts at `at`. `open`: it never closes.
bool read_box(Scan& scan, std::string_view s, size_t at, size_t name, Box& box, bool& open) {
  size_t k = at + name;
  if (k < s.size() && letter(s[k])) return false;
  while (k < s.size() && s[k] == ' ') ++k;
  open = false;
  if (k < s.size() && s[k] == '{') {
    const size_t close = closing_brace(scan, s, k);
    open = close == kNone;
    if (open) return false;
    box = {at, close + 1, s.substr(k + 1, close - k - 1)};
    return true;
  }
  size_t end = k;
  while (end < s.size() && (digit(s[end]) || letter(s[end]) || s[end] == '-')) ++end;
  if (end == k) {
    open = k >= s.size();
    return false;
  }
  box = {at, end, s.substr(k, end - k)};
  return true;
}

// Where the last box command before `before` begins, no earlier than `from`; kNone: none. "box" stands in both.
size_t last_box_command(Scan& scan, std::string_view s, size_t from, size_t before, size_t& length) {
  for (size_t end = before;;) {
    const size_t at = scan.last(s, "box", end, from);
    if (at == kNone) return kNone;
    if (at > from && s.substr(at - 1, 6) == "\\boxed" && at + 5 <= before) {
      length = 6;
      return at - 1;
    }
    if (at > from + 1 && s.substr(at - 2, 5) == "\\fbox") {
      length = 5;
      return at - 2;
    }
    end = at + 2;
  }
}

// A box whose brace is open, and how many braces enclose it.
struct OpenBox {
  uint32_t start;  // of the command
  uint32_t brace;
  uint32_t depth;
};

// The box that begins last of those that close, in one pass: for texts with many that do not.
bool last_closed_box(Scan& scan, std::string_view s, Box& box) {
  if (!scan.spend(s.size())) return false;
  std::vector<OpenBox> open;
  uint32_t depth = 0;
  size_t command = kNone;
  bool found = false;
  for (size_t k = 0; k < s.size(); ++k) {
    if (s[k] == '\\') {
      const std::string_view rest = s.substr(k);
      const size_t length = rest.starts_with("\\boxed") ? 6 : rest.starts_with("\\fbox") ? 5 : 0;
      if (length > 0 && k + length < s.size() && s[k + length] == '{') command = k;
      if (length == 0) ++k;  // \{
    } else if (s[k] == '{') {
      if (command != kNone) open.push_back({static_cast<uint32_t>(command), static_cast<uint32_t>(k), depth});
      command = kNone;
      ++depth;
    } else if (s[k] == '}' && depth > 0) {
      --depth;
      if (open.empty() || open.back().depth != depth) continue;
      const OpenBox last = open.back();
      open.pop_back();
      if (found && last.start < box.start) continue;
      box = {last.start, k + 1, s.substr(last.brace + 1, k - last.brace - 1)};
      found = true;
    }
  }
  return found;
}

}  // namespace

bool last_box(Scan& scan, std::string_view s, size_t from, size_t before, Box& box, bool& open) {
  size_t length = 0;
  open = false;
  for (int tries = 0; tries < 4; ++tries) {
    const size_t at = last_box_command(scan, s, from, before, length);
    if (at == kNone) return false;
    bool unclosed = false;
    if (read_box(scan, s.substr(0, before), at, length, box, unclosed)) return true;
    if (unclosed) {
      open = true;
      return from == 0 && last_closed_box(scan, s.substr(0, before), box);
    }
    before = at;
  }
  return false;
}

namespace {

// What is seen between two boxes.
struct Between {
  bool link = false;   // "and", "or", a comma
  bool other = false;  // what belongs to no list
  int words = 0;
};

// A command of spacing or text from k on, which is passed; false: another.
bool pass_command(std::string_view s, size_t& k) {
  size_t n = k + 1;
  while (n < s.size() && letter(s[n])) ++n;
  const std::string_view command = s.substr(k + 1, n - k - 1);
  if (command != "text" && command != "quad" && command != "qquad" && command != "mathrm" && !command.empty()) {
    return false;
  }
  k = command.empty() ? n + 1 : n;
  return true;
}

// A word from k on, which is passed; false: it is one too many.
bool pass_word(std::string_view s, size_t& k, Between& seen) {
  size_t n = k;
  while (n < s.size() && letter(s[n])) ++n;
  const std::string_view word = s.substr(k, n - k);
  if (word == "and" || word == "or") {
    seen.link = true;
  } else if (n < s.size() && s[n] == '_') {
    while (n < s.size() && s[n] != ' ' && s[n] != '=') ++n;
  } else if (++seen.words > 1) {
    return false;
  }
  k = n;
  return true;
}

}  // namespace

bool joins(std::string_view between) {
  if (between.size() > 80 || between.find("\n\n") != kNone) return false;
  Between seen;
  for (size_t k = 0; k < between.size();) {
    const char c = between[k];
    if (c == '\\') {
      if (!pass_command(between, k)) return false;
      continue;
    }
    if (letter(c)) {
      if (!pass_word(between, k, seen)) return false;
      continue;
    }
    if (c == '.' || c == '!' || c == '?' || c == ':') return false;
    const bool link = c == ',' || c == ';' || c == '&' || c == '+';
    seen.link = seen.link || link;
    seen.other = seen.other || (!link && c != '$' && c != '{' && c != '}' && c != '=' && !blank(c));
    ++k;
  }
  return seen.link && !seen.other;
}

}  // namespace deepsearch::math
