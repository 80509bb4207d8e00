#include "verify/lexer.h"

#include <algorithm>
#include <cctype>

#include "verify/vocabulary.h"

namespace deepsearch::math {

namespace {

bool digit(char c) {
  return c >= '0' && c <= '9';
}
bool letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '~';
}

std::string trimmed_lower(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (blank(c)) {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else {
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

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

class Lexer {
 public:
  Lexer(std::string_view text, const LexOptions& options, std::vector<Token>& tokens)
      : s_(text), options_(options), out_(tokens) {}

  bool run() {
    while (i_ < s_.size()) {
      if (out_.size() > kMaxTokens || !one()) return false;
    }
    push(T::kEnd, "");
    return true;
  }

 private:
  char at(size_t k) const { return k < s_.size() ? s_[k] : '\0'; }
  void push(T type, std::string_view text) {
    Token token;
    token.type = type;
    token.text = text;
    token.space_before = space_;
    space_ = false;
    out_.push_back(std::move(token));
    if (type == T::kOpen && text != "{") ++depth_;
    if (type == T::kClose && text != "}") depth_ = std::max(0, depth_ - 1);
  }
  bool digits_at(size_t k, size_t n) const {
    for (size_t j = k; j < k + n; ++j) {
      if (!digit(at(j))) return false;
    }
    return !digit(at(k + n));
  }
  // Length of a separator of thousands at k; 0: none. `comma`: it is a bare comma.
  size_t separator(size_t k, bool& comma) const {
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

  bool number() {
    const size_t start = i_;
    std::string text;
    while (digit(at(i_))) text += s_[i_++];
    bool grouped = false;
    if (text.size() <= 3 && !text.empty() && text[0] != '0') {
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
    }
    Token token;
    token.grouped = grouped;
    if (options_.plain && !grouped && at(i_) == ',' && digit(at(i_ + 1)) && depth_ == 0) {
      size_t n = 1;
      while (digit(at(i_ + n))) ++n;
      if ((n != 4 || text == "0" || text.size() > 3) && at(i_ + n) != ',') {  // a decimal comma
        text += '.';
        text += s_.substr(i_ + 1, n - 1);
        i_ += n;
        token.decimal = true;
        token.grouped = true;
      }
    } else if (at(i_) == '.' && at(i_ + 1) != '.' && !(text.empty() && !digit(at(i_ + 1)))) {
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
    if ((at(i_) == 'e' || at(i_) == 'E') && text.find('r') == std::string::npos) {
      size_t k = i_ + 1;
      if (at(k) == '+' || at(k) == '-') ++k;
      if (digit(at(k))) {
        const size_t from = i_ + 1;
        while (digit(at(k))) ++k;
        text += 'e';
        text += s_.substr(from, k - from);
        i_ = k;
      }
    }
    if (text.size() > kMaxDigits || i_ == start) return false;
    token.type = T::kNumber;
    token.text = std::move(text);
    token.space_before = space_;
    space_ = false;
    out_.push_back(std::move(token));
    return true;
  }

  // The group that opens at i_ (after blanks), without its braces; or one character.
  bool raw_group(std::string_view& group) {
    while (blank(at(i_))) ++i_;
    if (at(i_) != '{') {
      if (i_ >= s_.size()) return false;
      group = s_.substr(i_++, 1);
      return true;
    }
    int depth = 0;
    for (size_t k = i_; k < s_.size(); ++k) {
      if (s_[k] == '\\') {
        ++k;
      } else if (s_[k] == '{') {
        ++depth;
      } else if (s_[k] == '}' && --depth == 0) {
        group = s_.substr(i_ + 1, k - i_ - 1);
        i_ = k + 1;
        return true;
      }
    }
    return false;
  }

  bool inline_text(std::string_view text) {
    Lexer inner(text, options_, out_);
    inner.space_ = space_;
    while (inner.i_ < text.size()) {
      if (out_.size() > kMaxTokens || ++nested_ > 64 || !inner.one()) return false;
    }
    space_ = false;
    return true;
  }

  bool text_group(std::string_view command) {
    std::string_view group;
    if (!raw_group(group)) return false;
    const std::string word = trimmed_lower(group);
    if (word.empty()) {
      space_ = true;
      return true;
    }
    const bool first = out_.empty();
    if (word == "infinity") {
      push(T::kInfinity, "");
      return true;
    }
    for (const std::string_view square : {"square ", "sq. ", "sq "}) {
      if (!word.starts_with(square)) continue;
      const std::string_view unit = unit_name(std::string_view(word).substr(square.size()));
      if (unit.empty() || unit == "%" || unit == "deg") continue;
      push(T::kUnit, unit);
      push(T::kCaret, "");
      push(T::kNumber, "2");
      return true;
    }
    std::string bare = word;
    while (!bare.empty() && (bare.back() == '.' || bare.back() == ',')) bare.pop_back();
    std::string_view core = bare;
    if (core.starts_with(", ")) core.remove_prefix(2);
    if (core == "and" || core == "or") {
      push(T::kWordSeparator, core);
      return true;
    }
    if (first && (word.back() == ':' || word == "answer")) return true;                       // a label
    if (word.front() == '(' && word.back() == ')' && !first && word.size() > 3) return true;  // a remark
    std::string_view one = group;
    while (!one.empty() && blank(one.front())) one.remove_prefix(1);
    while (!one.empty() && blank(one.back())) one.remove_suffix(1);
    if (command == "mathrm" || command == "operatorname" || command == "operatorname*") {
      if (one.size() == 1 && letter(one[0])) {
        if (!first && out_.back().type == T::kNumber &&
            std::string_view("mghsLNJWVK").find(one[0]) != std::string_view::npos) {
          push(T::kUnit, one);
          return true;
        }
        return inline_text(one);
      }
      if (const Entry* known = find_command(one)) {
        push(known->type, known->text);
        return true;
      }
    }
    const std::string_view unit = unit_name(bare);
    if (unit == "%") {
      push(T::kPercent, "");
    } else if (unit == "deg") {
      push(T::kDegree, "");
    } else if (!unit.empty()) {
      push(T::kUnit, unit);
    } else if (std::any_of(one.begin(), one.end(), digit) || one.find('\\') != std::string_view::npos ||
               (command == "mathrm" && one.find(' ') == std::string_view::npos)) {
      if (command == "mathrm" && std::all_of(one.begin(), one.end(), letter)) {
        push(T::kText, one);
        return true;
      }
      return inline_text(one);
    } else {
      push(T::kText, one);
    }
    return true;
  }

  bool command() {
    ++i_;
    if (i_ >= s_.size()) return true;
    if (at(i_) == '\\') {
      ++i_;
      push(T::kRow, "");
      return true;
    }
    const size_t from = i_;
    while (letter(at(i_))) ++i_;
    if (i_ == from) ++i_;
    std::string_view name = s_.substr(from, i_ - from);
    if (at(i_) == '*' && name == "operatorname") ++i_;
    if (name == "left" || name == "right" || name == "middle") {
      while (blank(at(i_))) ++i_;
      if (at(i_) == '.') ++i_;
      return true;
    }
    if (name == "text" || name == "textbf" || name == "textit" || name == "mbox" || name == "textnormal" ||
        name == "textrm" || name == "mathrm" || name == "operatorname" || name == "hbox" || name == "texttt" ||
        name == "textsf" || name == "emph") {
      return text_group(name);
    }
    if (name == "begin" || name == "end") {
      std::string_view group;
      if (!raw_group(group)) return false;
      push(name == "begin" ? T::kBegin : T::kEndEnv, group);
      if (name == "begin" && group == "array" && at(i_) == '{' && !raw_group(group)) return false;
      return true;
    }
    if (name == "mathbb" || name == "Bbb" || name == "mathcal" || name == "mathfrak" || name == "mathscr") {
      std::string_view group;
      if (!raw_group(group)) return false;
      if (name == "mathbb" && group == "R") {
        push(T::kReals, "");
      } else {
        push(T::kLetter, std::string(name) + "{" + std::string(group) + "}");
      }
      return true;
    }
    if (name == "not") {
      while (blank(at(i_))) ++i_;
      const size_t before = out_.size();
      if (!one() || out_.size() != before + 1) return false;
      out_.back().text = out_.back().text == "=" ? "!=" : "not " + out_.back().text;
      out_.back().type = T::kRelation;
      return true;
    }
    if (const int arguments = skipped_arguments(name); arguments >= 0) {
      std::string_view group;
      for (int n = 0; n < arguments; ++n) {
        if (!raw_group(group)) return false;
      }
      if (name != "!") space_ = true;
      return true;
    }
    if (const Entry* known = find_command(name)) {
      push(known->type, known->text);
      return true;
    }
    if (!letter(name[0])) return false;
    push(T::kLetter, name);
    return true;
  }

  bool word() {
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
    if (after_number) {
      std::string lower(run);
      std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
      if (const std::string_view unit = unit_name(lower); !unit.empty()) {
        push(unit == "%"     ? T::kPercent
             : unit == "deg" ? T::kDegree
                             : T::kUnit,
             unit == "%" || unit == "deg" ? "" : unit);
        return true;
      }
      if (run.size() >= 4) {
        push(T::kText, run);
        return true;
      }
    }
    if (run.size() >= 4 && !std::is_sorted(run.begin(), run.end()) &&
        run.find_first_of("aeiouyAEIOUY") != std::string_view::npos) {
      push(T::kText, run);  // prose, not a product
      return true;
    }
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
  bool single(std::string_view name) {
    push(name == "e" || name == "i" ? T::kConstant : T::kLetter, name);
    return true;
  }

  bool one() {
    const char c = s_[i_];
    if (blank(c)) {
      ++i_;
      space_ = true;
      return true;
    }
    if (digit(c) || (c == '.' && digit(at(i_ + 1)))) return number();
    if (letter(c)) return word();
    if (c == '\\') return command();
    ++i_;
    switch (c) {
      case '+':
        push(T::kPlus, "");
        return true;
      case '-':
        push(T::kMinus, "");
        return true;
      case '*':
        if (at(i_) == '*') {
          ++i_;
          push(T::kCaret, "");
        } else {
          push(T::kTimes, "*");
        }
        return true;
      case '/':
        push(T::kDivide, "/");
        return true;
      case ':':
        push(T::kColon, "");
        return true;
      case '^':
        push(T::kCaret, "");
        return true;
      case '_':
        push(T::kUnder, "");
        return true;
      case '\'':
        push(T::kPrime, "");
        return true;
      case '%':
        push(T::kPercent, "");
        return true;
      case '&':
        push(T::kAmpersand, "");
        return true;
      case ',':
        push(T::kComma, "");
        return true;
      case ';':
        push(T::kSemicolon, "");
        return true;
      case '(':
        push(T::kOpen, "(");
        return true;
      case ')':
        push(T::kClose, ")");
        return true;
      case '[':
        push(T::kOpen, "[");
        return true;
      case ']':
        push(T::kClose, "]");
        return true;
      case '{':
        push(T::kOpen, "{");
        return true;
      case '}':
        push(T::kClose, "}");
        return true;
      case '|':
        push(T::kBar, "|");
        return true;
      case '$':
        return true;
      case '=':
        if (at(i_) == '=') return false;
        push(T::kRelation, "=");
        return true;
      case '!':
        if (at(i_) == '=') {
          ++i_;
          push(T::kRelation, "!=");
        } else {
          push(T::kBang, "");
        }
        return true;
      case '<':
      case '>':
        if (at(i_) == '=') {
          ++i_;
          push(T::kRelation, c == '<' ? "<=" : ">=");
        } else {
          push(T::kRelation, std::string_view(&c, 1));
        }
        return true;
      case '.':
        while (i_ < s_.size() && (blank(at(i_)) || at(i_) == '$')) ++i_;
        return i_ >= s_.size();
      default:
        return false;
    }
  }

  std::string_view s_;
  LexOptions options_;
  std::vector<Token>& out_;
  size_t i_ = 0;
  int depth_ = 0;
  int nested_ = 0;
  bool space_ = false;
};

}  // namespace

bool lex(std::string_view text, const LexOptions& options, std::vector<Token>& tokens) {
  tokens.clear();
  if (text.size() > kMaxMathBytes) return false;
  std::string ascii;
  if (!to_ascii(text, ascii)) return false;
  // Braces around the whole say nothing.
  std::string_view body = ascii;
  for (;;) {
    while (!body.empty() && (blank(body.front()) || body.front() == '$')) body.remove_prefix(1);
    while (!body.empty() && (blank(body.back()) || body.back() == '$')) body.remove_suffix(1);
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
        if (depth == 0) return false;
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
  return Lexer(body, options, tokens).run();
}

}  // namespace deepsearch::math
