#include <algorithm>

#include "verify/extraction_impl.h"

namespace deepsearch::math {

// Mathematics that starts at k: its content and where it ends.
bool Extractor::maths_at(size_t k, std::string_view& content, size_t& end) const {
  struct Pair {
    std::string_view open;
    std::string_view close;
  };
  static constexpr Pair kPairs[] = {{"$$", "$$"}, {"\\[", "\\]"}, {"\\(", "\\)"}, {"$", "$"}};
  for (const Pair& pair : kPairs) {
    if (!s_.substr(k).starts_with(pair.open)) continue;
    const size_t from = k + pair.open.size();
    const size_t close = scan_.next(s_, pair.close, from, from + kMaxMaths + pair.close.size());
    if (close == kNone) return false;
    content = s_.substr(from, close - from);
    if (pair.open == "$" && content.find('\n') != kNone) return false;
    end = close + pair.close.size();
    return !trim(content).empty();
  }
  return false;
}

bool Extractor::number_char(char c) {
  return digit(c) || c == '.' || c == ',' || c == '+' || c == '-' || c == '*' || c == '/' || c == '^' || c == '(' ||
         c == ')';
}

// The "e5" or "e-" that goes on a number begun at `start`; 0: none.
size_t Extractor::exponent_length(size_t end, size_t start) const {
  const char c = s_[end];
  if ((c != 'e' && c != 'E') || end == start || !digit(s_[end - 1]) || end + 1 >= s_.size()) return 0;
  const bool sign = (s_[end + 1] == '-' || s_[end + 1] == '+') && end + 2 < s_.size() && digit(s_[end + 2]);
  return digit(s_[end + 1]) || sign ? 2 : 0;
}

// The blank at `end` that does not end a number or an operation begun at `start`; 0: it does. UTF-8 no-break spaces may
// part thousands.
size_t Extractor::gap_length(size_t end, size_t start, bool any) const {
  const char c = s_[end];
  if (c != ' ' && c != '\xC2' && c != '\xE2') return 0;
  const size_t gap = c == ' ' ? 1 : c == '\xC2' ? 2 : 3;
  const std::string_view next = s_.substr(std::min(s_.size(), end + gap));
  const auto sign = [](char x) { return x == '+' || x == '-' || x == '*' || x == '/'; };
  if (any && digit(s_[end - 1]) && thousands(std::min(s_.size(), end + gap))) return gap;
  if (c != ' ' || next.empty() || end == start) return 0;
  if (next.size() > 2 && sign(next[0]) && next[1] == ' ' && (digit(next[2]) || next[2] == '(')) return gap;
  if (sign(s_[end - 1]) && (digit(next[0]) || next[0] == '(')) return gap;
  return mixed_part(next) && digit(s_[end - 1]) ? gap : 0;
}

// A plain number or simple arithmetic from k on; 0: none.
size_t Extractor::number_length(size_t k) const {
  size_t end = k;
  size_t last = k;
  bool any = false;
  while (end < s_.size() && end - k < 400) {
    const char c = s_[end];
    if (number_char(c)) {
      ++end;
      any = any || digit(c);
      if (c != ',' && c != '.') last = end;
    } else if (const size_t n = exponent_length(end, k); n > 0) {
      end += n;
      last = end;
    } else if (const size_t gap = gap_length(end, k, any); gap > 0) {
      end += gap;
    } else {
      break;
    }
  }
  return any ? last - k : 0;
}

bool Extractor::mixed_part(std::string_view s) {
  size_t k = 0;
  while (k < s.size() && k < 4 && digit(s[k])) ++k;
  return k > 0 && k < 4 && k + 1 < s.size() && s[k] == '/' && digit(s[k + 1]);
}

bool Extractor::free_on_the_left(size_t k) const {
  if (k == 0) return true;
  const char c = s_[k - 1];
  return blank(c) || c == '$' || c == '=' || c == '"' || c == '\'' || c == '(' || c == '[' || c == '{' || c == ':' ||
         c == '~' || c == '#' || (c == '*' && (k < 2 || !number_char(s_[k - 2]) || s_[k - 2] == '*')) ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Plain numbers from k on, joined by commas, "and" or "or".
size_t Extractor::list_length(size_t k) const {
  size_t n = number_length(k);
  if (n == 0) return 0;
  for (int items = 0; items < 64; ++items) {
    size_t e = k + n;
    bool link = false;
    for (;;) {
      if (e < s_.size() && (s_[e] == ' ')) {
        ++e;
      } else if (e < s_.size() && (s_[e] == ',' || s_[e] == ';')) {
        link = true;
        ++e;
      } else if (s_.substr(e).starts_with("and ") || s_.substr(e).starts_with("or ")) {
        link = true;
        e += s_[e] == 'a' ? 4 : 3;
      } else {
        break;
      }
    }
    if (!link) break;
    const size_t more = number_length(e);
    if (more == 0) break;
    n = e + more - k;
  }
  return n;
}

bool Extractor::unit_after(size_t k) const {
  size_t n = k;
  while (n < s_.size() && n - k <= 12 && letter(s_[n])) ++n;
  return n - k <= 12 && (n >= s_.size() || s_[n] != '(');
}

// "$x=1$ or $x=2$" is one answer.
void Extractor::join_maths(std::string& text, size_t& end) const {
  for (int n = 0; n < 16; ++n) {
    size_t k = end;
    while (k < s_.size() && (s_[k] == ' ' || s_[k] == ',')) ++k;
    const bool comma = k > end && s_.substr(end, k - end).find(',') != kNone;
    std::string_view rest = s_.substr(k);
    size_t word = rest.starts_with("or ") ? 3 : rest.starts_with("and ") ? 4 : 0;
    if (word == 0 && !comma) return;
    k += word;
    std::string_view more;
    size_t stop = 0;
    if (!maths_at(k, more, stop)) return;
    text += " , ";
    text += more;
    end = stop;
  }
}

bool Extractor::thousands(size_t k) const {
  const std::string_view s = s_.substr(k);
  return s.size() >= 3 && digit(s[0]) && digit(s[1]) && digit(s[2]) && (s.size() == 3 || !digit(s[3]));
}

bool Extractor::operator_at(size_t k) const {
  return k + 1 < s_.size() && (s_[k] == '+' || s_[k] == '-' || s_[k] == '*' || s_[k] == '/') && s_[k + 1] == ' ';
}

// "3 * |4"
bool Extractor::operator_before(size_t k) const {
  return k >= 2 && (s_[k - 1] == '+' || s_[k - 1] == '-' || s_[k - 1] == '*' || s_[k - 1] == '/') && s_[k - 2] == ' ';
}

}  // namespace deepsearch::math
