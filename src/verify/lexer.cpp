#include "verify/lexer.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "verify/lexer_impl.h"
#include "verify/vocabulary.h"

namespace deepsearch::math {

namespace {

// Beyond ASCII to LaTeX; false for bytes that are no text.
bool to_ascii(std::string_view in, std::string& out) {
  out.clear();
  for (size_t i = 0; i < in.size();) {
    const auto c = static_cast<unsigned char>(in[i]);
    if (c < 0x80) {
      if (c < 0x20 && c != '\n' && c != '\r' && c != '\t') return false;
      out += in[i++];
      continue;
    }
    const size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 ? 2 : 0;
    if (n == 0 || i + n > in.size()) return false;
    char32_t code = c & (0xFFU >> (n + 1));
    for (size_t k = 1; k < n; ++k) {
      const auto d = static_cast<unsigned char>(in[i + k]);
      if ((d & 0xC0U) != 0x80) return false;
      code = code << 6 | (d & 0x3FU);
    }
    i += n;
    if (code >= 0xFF01 && code <= 0xFF5E) {
      out += static_cast<char>(code - 0xFF01 + 0x21);
    } else if (const char* sign = find_sign(code)) {
      out += sign;
    } else {
      return false;
    }
  }
  return true;
}

// Without the braces, blanks and dollars around the whole, which say nothing. Nothing: a brace closes that was not
// open.
std::optional<std::string_view> without_outer_braces(std::string_view body) {
  for (;;) {
    while (!body.empty() && (space(body.front()) || body.front() == '$')) body.remove_prefix(1);
    while (!body.empty() && (space(body.back()) || body.back() == '$')) body.remove_suffix(1);
    if (body.size() < 2 || body.front() != '{' || body.back() != '}' || body[body.size() - 2] == '\\') break;
    size_t braces = 0;
    while (braces < body.size() && body[braces] == '{') ++braces;
    // As many of the leading braces as the trailing ones close: the depth never falls below the rest within.
    size_t depth = 0;
    size_t lowest = braces;
    for (size_t k = 0; k + 1 < body.size(); ++k) {
      if (body[k] == '\\') {
        ++k;
      } else if (body[k] == '{') {
        ++depth;
      } else if (body[k] == '}') {
        if (depth == 0) return std::nullopt;
        --depth;
        size_t tail = k + 1;
        while (tail < body.size() && body[tail] == '}') ++tail;
        if (tail == body.size()) break;  // in the closing run
        lowest = std::min(lowest, depth);
      }
    }
    size_t closing = 0;
    while (closing < body.size() && body[body.size() - 1 - closing] == '}') ++closing;
    const size_t strip = std::min({braces, closing, std::max<size_t>(lowest, 0)});
    if (strip == 0) break;
    body = body.substr(strip, body.size() - 2 * strip);
  }
  return body;
}

}  // namespace

bool Lexer::run() {
  while (i_ < s_.size()) {
    if (out_.size() > kMaxTokens || !one()) return false;
  }
  push(T::kEnd, "");
  return true;
}

void Lexer::push(T type, std::string_view text) {
  Token token;
  token.type = type;
  token.text = text;
  token.space_before = space_;
  space_ = false;
  out_.push_back(std::move(token));
  if (type == T::kOpen && text != "{") ++depth_;
  if (type == T::kClose && text != "}") depth_ = std::max(0, depth_ - 1);
}

// Behind a number: a unit, or the name of what is counted.
bool Lexer::unit_or_text(std::string_view run) {
  std::string lower(run);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (const std::string_view unit = unit_name(lower); !unit.empty()) {
    push(unit == "%" ? T::kPercent : unit == "deg" ? T::kDegree : T::kUnit, unit == "%" || unit == "deg" ? "" : unit);
    return true;
  }
  if (run.size() < 4) return false;
  push(T::kText, run);
  return true;
}

bool Lexer::word() {
  const size_t from = i_;
  while (letter(at(i_))) ++i_;
  const std::string_view run = s_.substr(from, i_ - from);
  if (run.size() == 1) return single(run);
  if (run == "np" && at(i_) == '.') {
    ++i_;
    return true;
  }
  if (const Entry* known = find_word(run)) {
    push(known->type, known->text);
    return true;
  }
  const bool after_number = !out_.empty() && (out_.back().type == T::kNumber || out_.back().type == T::kUnit);
  if (after_number && unit_or_text(run)) return true;
  if (run.size() >= 4 && !std::is_sorted(run.begin(), run.end()) &&
      run.find_first_of("aeiouyAEIOUY") != std::string_view::npos) {
    push(T::kText, run);  // prose, not a product
    return true;
  }
  return letters(run, after_number);
}

// A run of letters as a product, names of functions within it known.
bool Lexer::letters(std::string_view run, bool after_number) {
  for (size_t k = 0; k < run.size(); ++k) {
    bool found = false;
    for (size_t n = std::min<size_t>(6, run.size() - k); n >= 2 && !found; --n) {
      const Entry* known = find_word(run.substr(k, n));
      if (known != nullptr && (known->type == T::kName || known->type == T::kConstant) && n >= 2) {
        push(known->type, known->text);
        k += n - 1;
        found = true;
      } else if (run.substr(k) == "or" || run.substr(k, 2) == "or") {
        if (after_number || (k == 0 && !out_.empty())) {
          push(T::kWordSeparator, "or");
          k += 1;
          found = true;
        }
      }
    }
    if (!found && !single(run.substr(k, 1))) return false;
  }
  return true;
}

bool Lexer::single(std::string_view name) {
  push(name == "e" || name == "i" ? T::kConstant : T::kLetter, name);
  return true;
}

bool Lexer::one() {
  const char c = s_[i_];
  if (space(c)) {
    ++i_;
    space_ = true;
    return true;
  }
  if (digit(c) || (c == '.' && digit(at(i_ + 1)))) return number();
  if (letter(c)) return word();
  if (c == '\\') return command();
  ++i_;
  return sign(c);
}

namespace {

struct Sign {
  char character;
  T type;
  std::string_view text;
};

// Signs that are a token by themselves, whatever follows.
constexpr Sign kSigns[] = {{'+', T::kPlus, ""},   {'-', T::kMinus, ""},     {'/', T::kDivide, "/"},
                           {':', T::kColon, ""},  {'^', T::kCaret, ""},     {'_', T::kUnder, ""},
                           {'\'', T::kPrime, ""}, {'%', T::kPercent, ""},   {'&', T::kAmpersand, ""},
                           {',', T::kComma, ""},  {';', T::kSemicolon, ""}, {'(', T::kOpen, "("},
                           {')', T::kClose, ")"}, {'[', T::kOpen, "["},     {']', T::kClose, "]"},
                           {'{', T::kOpen, "{"},  {'}', T::kClose, "}"},    {'|', T::kBar, "|"}};

}  // namespace

// A sign that has been passed.
bool Lexer::sign(char c) {
  for (const Sign& known : kSigns) {
    if (known.character != c) continue;
    push(known.type, known.text);
    return true;
  }
  const bool doubled = at(i_) == (c == '*' ? '*' : '=');
  switch (c) {
    case '$':
      return true;
    case '*':
      push(doubled ? T::kCaret : T::kTimes, doubled ? "" : "*");
      break;
    case '=':
      if (doubled) return false;
      push(T::kRelation, "=");
      break;
    case '!':
      push(doubled ? T::kRelation : T::kBang, doubled ? "!=" : "");
      break;
    case '<':
    case '>':
      push(T::kRelation, doubled ? (c == '<' ? "<=" : ">=") : std::string_view(&c, 1));
      break;
    case '.':  // ends the text
      while (i_ < s_.size() && (space(at(i_)) || at(i_) == '$')) ++i_;
      return i_ >= s_.size();
    default:
      return false;
  }
  if (doubled) ++i_;
  return true;
}

bool lex(std::string_view text, const LexOptions& options, std::vector<Token>& tokens) {
  tokens.clear();
  if (text.size() > kMaxMathBytes) return false;
  std::string ascii;
  if (!to_ascii(text, ascii)) return false;
  const std::optional<std::string_view> body = without_outer_braces(ascii);
  return body && Lexer(*body, options, tokens).run();
}

}  // namespace deepsearch::math
