#include <algorithm>
#include <utility>

#include "verify/lexer_impl.h"

namespace deepsearch::math {

bool Lexer::digits_at(size_t k, size_t n) const {
  for (size_t j = k; j < k + n; ++j) {
    if (!digit(at(j))) return false;
  }
  return !digit(at(k + n));
}

// Length of a separator of thousands at k; 0: none. `comma`: it is a bare comma.
size_t Lexer::separator(size_t k, bool& comma) const {
  comma = false;
  const std::string_view rest = s_.substr(std::min(k, s_.size()));
  if (rest.starts_with("{,}")) return 3;
  for (const std::string_view sign : {",\\!", ", \\!", "{,\\!}", "\\,", "\\ ", " ", "~"}) {
    if (rest.starts_with(sign)) {
      size_t n = sign.size();
      if (sign[0] == ',' && at(k + n) == ' ') ++n;
      return n;
    }
  }
  if (rest.starts_with(" {, }") || rest.starts_with("{, }")) return rest[0] == ' ' ? 5 : 4;
  if (at(k) == ',' && options_.group_commas && depth_ == 0) {
    comma = true;
    return 1;
  }
  return 0;
}

// The groups of three that follow; true: some were parted by bare commas.
bool Lexer::thousands(std::string& text) {
  bool grouped = false;
  if (text.size() > 3 || text.empty() || text[0] == '0') return false;
  size_t used = 0;
  for (;;) {
    bool comma = false;
    size_t n = separator(i_, comma);
    if (n == 0) break;
    while (n > 0 && at(i_ + n) == ' ' && at(i_) != ' ' && !comma) ++n;
    if (!digits_at(i_ + n, 3)) break;
    if (used != 0 && used != (comma ? 1U : 2U)) break;
    used = comma ? 1 : 2;
    grouped = grouped || comma;
    text += s_.substr(i_ + n, 3);
    i_ += n + 3;
  }
  return grouped;
}

void Lexer::decimal_comma(std::string& text, Token& token) {
  size_t n = 1;
  while (digit(at(i_ + n))) ++n;
  if ((n == 4 && text != "0" && text.size() <= 3) || at(i_ + n) == ',') return;
  text += '.';
  text += s_.substr(i_ + 1, n - 1);
  i_ += n;
  token.decimal = true;
  token.grouped = true;
}

// From the point on, a repeating part included.
void Lexer::decimals(std::string& text, Token& token) {
  text += s_[i_++];
  bool any = false;
  for (; digit(at(i_)); any = true) text += s_[i_++];
  token.decimal = any;
  if (any && std::all_of(text.begin() + static_cast<std::ptrdiff_t>(text.find('.')) + 1, text.end(),
                         [](char c) { return c == '0'; })) {
    token.decimal = false;  // 5.000 is exact
  }
  for (const std::string_view over : {"\\overline{", "\\dot{", "\\bar{"}) {
    if (!s_.substr(i_).starts_with(over)) continue;
    size_t k = i_ + over.size();
    const size_t from = k;
    while (digit(at(k))) ++k;
    if (k > from && at(k) == '}') {
      text += 'r';
      text += s_.substr(from, k - from);
      i_ = k + 1;
      token.decimal = false;
    }
  }
}

void Lexer::exponent(std::string& text) {
  if ((at(i_) != 'e' && at(i_) != 'E') || text.find('r') != std::string::npos) return;
  size_t k = i_ + 1;
  if (at(k) == '+' || at(k) == '-') ++k;
  if (!digit(at(k))) return;
  const size_t from = i_ + 1;
  while (digit(at(k))) ++k;
  text += 'e';
  text += s_.substr(from, k - from);
  i_ = k;
}

bool Lexer::number() {
  const size_t start = i_;
  std::string text;
  while (digit(at(i_))) text += s_[i_++];
  Token token;
  token.grouped = thousands(text);
  if (options_.plain && !token.grouped && at(i_) == ',' && digit(at(i_ + 1)) && depth_ == 0) {
    decimal_comma(text, token);
  } else if (at(i_) == '.' && at(i_ + 1) != '.' && !(text.empty() && !digit(at(i_ + 1)))) {
    decimals(text, token);
  }
  exponent(text);
  if (text.size() > kMaxDigits || i_ == start) return false;
  token.type = T::kNumber;
  token.text = std::move(text);
  token.space_before = space_;
  space_ = false;
  out_.push_back(std::move(token));
  return true;
}

}  // namespace deepsearch::math
