#include <algorithm>
#include <utility>

#include "verify/boxes.h"
#include "verify/extraction_impl.h"

namespace deepsearch::math {

void Extractor::anywhere() {
  if (options_.latex) last_maths();
  if (options_.latex && options_.expressions && out_.empty() && s_.size() <= 200 && s_.find('$') == kNone &&
      s_.find('\n') == kNone && (s_.find('=') != kNone || s_.find('\\') != kNone)) {
    add(std::string(trim(s_)), 300, s_.size() + 1);
  }
  if (options_.latex) bare_fraction();
  if (options_.expressions) last_number();
}

void Extractor::last_maths() {
  size_t before = s_.size();
  for (int tries = 0; tries < 48; ++tries) {
    size_t from = kNone;
    size_t close = kNone;
    size_t end = 0;
    if (!last_closing(before, from, close, end)) return;
    std::string_view content;
    size_t stop = 0;
    if (from == kNone || !maths_at(from, content, stop) || stop != end) {
      before = close;
      continue;
    }
    add_maths(content, from, end);
    if (out_.size() >= 4) return;
    before = from;
  }
}

// The closing mark of maths that stands last before `before`, and where its pair may open (kNone: nowhere). False:
// none.
bool Extractor::last_closing(size_t before, size_t& from, size_t& close, size_t& end) const {
  size_t k = before;
  for (; k > 0; --k) {
    const char c = s_[k - 1];
    if (c == '$' || ((c == ']' || c == ')') && k > 1 && s_[k - 2] == '\\')) break;
  }
  if (!scan_.spend(before - k) || k == 0) return false;
  const bool dollar = s_[k - 1] == '$';
  close = dollar ? k - 1 : k - 2;
  if (close == 0) return false;
  end = k;
  const bool display = dollar && s_[close - 1] == '$';
  const std::string_view opening = display ? "$$" : dollar ? "$" : s_[k - 1] == ']' ? "\\[" : "\\(";
  size_t last = display ? close - 1 : close;
  from = scan_.last(s_, opening, last, last - std::min(last, kMaxMaths + 4));
  return last > 0;
}

// With earlier pieces that join it.
void Extractor::add_maths(std::string_view content, size_t from, size_t end) {
  std::string text(content);
  size_t first = from;
  for (int n = 0; n < 8; ++n) {
    size_t k = first;
    while (k > 0 && s_[k - 1] == ' ') --k;
    const std::string_view head = s_.substr(0, k);
    const size_t word = head.ends_with(" or") ? 3 : head.ends_with(" and") ? 4 : head.ends_with(",") ? 1 : 0;
    if (word == 0 || k <= word + 1 || s_[k - word - 1] != '$') break;
    const size_t stop = k - word - 1;
    const size_t mark = scan_.last(s_, "$", stop, stop - std::min(stop, kMaxMaths));
    if (mark == kNone || s_.substr(mark, k - word - mark).find('\n') != kNone) break;
    std::string joined(s_.substr(mark + 1, k - word - mark - 2));
    joined.append(" , ").append(text);
    text = std::move(joined);
    first = mark;
  }
  add(text, 300, end);
}

void Extractor::bare_fraction() {
  const size_t at = scan_.last(s_, "\\frac{", s_.size());
  if (at == kNone) return;
  const size_t one = closing_brace(scan_, s_, at + 5);
  if (one == kNone || one + 1 >= s_.size() || s_[one + 1] != '{') return;
  const size_t two = closing_brace(scan_, s_, one + 1);
  if (two == kNone) return;
  const bool minus = at > 0 && s_[at - 1] == '-';
  add(std::string(s_.substr(at - (minus ? 1 : 0), two + 1 - at + (minus ? 1 : 0))), 300, two + 1);
}

// Where the run of numbers and signs that ends with the digit at `last` begins.
size_t Extractor::run_start(size_t last) const {
  size_t from = last;
  while (from > 0 && last - from < 400) {
    const char c = s_[from - 1];
    if (number_char(c) || ((c | 0x20) == 'e' && from >= 2 && digit(s_[from - 2]))) {
      --from;
    } else if (c == ' ' && from >= 2 &&
               ((digit(s_[from - 2]) && (thousands(from) || mixed_part(s_.substr(from)))) ||
                (digit(s_[from]) && operator_before(from - 1)) ||
                (operator_at(from) && (digit(s_[from - 2]) || s_[from - 2] == ')')))) {
      --from;
    } else if (static_cast<unsigned char>(c) == 0xA0 && from >= 3 && s_[from - 2] == '\xC2' && digit(s_[from - 3]) &&
               thousands(from)) {
      from -= 2;
    } else {
      break;
    }
  }
  return from;
}

size_t Extractor::without_leading_signs(size_t from, size_t last) const {
  while (from < last &&
         (s_[from] == ',' || s_[from] == '.' || s_[from] == ')' || s_[from] == '*' || s_[from] == '/' ||
          s_[from] == '+' || s_[from] == '^') &&
         !(s_[from] == '.' && digit(s_[from + 1]))) {
    if ((s_[from] == '*' || s_[from] == '/' || s_[from] == '^') && from > 0 && !blank(s_[from - 1]) &&
        s_[from] != '*') {
      break;
    }
    ++from;
  }
  return from;
}

void Extractor::last_number() {
  size_t k = s_.size();
  for (int tries = 0; tries < 64 && k > 0; ++tries) {
    const size_t last = scan_.last_digit(s_, k);
    if (last == kNone) return;
    size_t from = without_leading_signs(run_start(last), last);
    size_t n = last + 1 - from;
    int depth = 0;
    for (size_t p = from; p <= last; ++p) depth += s_[p] == '(' ? 1 : s_[p] == ')' ? -1 : 0;
    while (depth > 0 && from + n < s_.size() && s_[from + n] == ')') {
      ++n;
      --depth;
    }
    std::string text(s_.substr(from, n));
    if (depth > 0 && text[0] == '(') {
      ++from;
      text.erase(0, 1);
    }
    // A sign that stands for a minus.
    if (from >= 3 && s_.substr(from - 3, 3) == "\xE2\x88\x92") {
      std::string negative = "-";
      text = negative.append(text);
    }
    const bool starred = from > 1 && s_[from - 1] == '*' && !blank(s_[from - 2]) && s_[from - 2] != '*';
    if (s_.substr(0, from).ends_with("not ")) return;  // a denial
    if (free_on_the_left(from) && !starred) {
      add(text, 300, last + 1, true);
      return;
    }
    k = from;
  }
}

}  // namespace deepsearch::math
