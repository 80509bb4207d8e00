#include "verify/parser.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "verify/parser_impl.h"

namespace deepsearch::math {

Expr Parser::run() {
  Expr x = items();
  if (peek().type != T::kEnd) throw NotMath{};
  return x;
}

bool Parser::separator() const {
  const T t = tokens_[i_].type;
  return t == T::kComma || t == T::kSemicolon || t == T::kWordSeparator;
}

bool Parser::item_end() const {
  const T t = tokens_[i_].type;
  return t == T::kEnd || t == T::kClose || t == T::kAmpersand || t == T::kRow || t == T::kEndEnv || separator();
}

void Parser::item_list(Exprs& out) {
  for (;;) {
    while (separator()) ++i_;
    if (item_end()) break;
    if (is(T::kDots)) throw NotMath{};
    const Expr x = relation();
    expand(x, out);
    if (!separator()) break;
  }
  while (accept(T::kRow)) {
  }
}

Expr Parser::items() {
  Exprs out;
  item_list(out);
  if (out.empty()) throw NotMath{};
  return out.size() == 1 ? out[0] : a_.make(Kind::kList, {}, out);
}

// ± stands for both.
void Parser::expand(Expr x, Exprs& out) {
  const Expr sign = a_.symbol(kPlusMinusName);
  if (!has_sign_ || !contains(x, sign)) {
    out.push_back(x);
    return;
  }
  for (const long s : {1L, -1L}) out.push_back(a_.substitute(x, sign, a_.number(s)));
}

// Percent and units of a product to its outside; false: it has none.
bool Parser::take_units(Expr x, bool decimal, Expr& out) {
  Exprs value;
  Exprs unit;
  bool percent = false;
  const auto sort = [&](Expr f) {
    const Expr base = f->is(Kind::kPower) ? (*f)[0] : f;
    if (base->is(Kind::kSymbol, "%")) {
      percent = true;
    } else if (base->is(Kind::kSymbol) && base->name.starts_with("unit:")) {
      unit.push_back(f);
    } else {
      value.push_back(f);
    }
  };
  if (x->is(Kind::kProduct)) {
    for (Expr f : x->children()) sort(f);
  } else {
    sort(x);
  }
  if (unit.empty() && !percent) return false;
  Expr inner = a_.product(value);
  if (decimal) inner = a_.make(Kind::kRounded, {}, {inner});
  out = percent ? a_.make(Kind::kPercent, {}, {inner}) : a_.make(Kind::kQuantity, {}, {inner, a_.product(unit)});
  return true;
}

// A whole operand: units, percent and rounding come to the outside.
Expr Parser::finish(Expr x, bool decimal) {
  if (!arithmetic(x)) return x;
  if (has_unit_) {
    Expr taken = nullptr;
    if (take_units(x, decimal, taken)) return taken;
    x = a_.substitute(x, a_.symbol("%"), a_.number(mpq_class(1, 100)));
    x = a_.substitute(x, a_.symbol("unit:deg"), a_.number(1));
  }
  return decimal ? a_.make(Kind::kRounded, {}, {x}) : x;
}

Expr Parser::operand() {
  decimal_ = false;
  has_unit_ = false;
  const Expr x = set_expression();
  return finish(x, decimal_);
}

Expr Parser::word_item() {
  std::string text;
  while (is(T::kText) || is(T::kUnit)) {
    text += text.empty() ? "" : " ";
    text += peek().text;
    ++i_;
  }
  if (!item_end()) throw NotMath{};
  return a_.make(Kind::kWord, plain_words(text), {});
}

Expr Parser::relation() {
  const Deeper deeper(*this);
  if (is(T::kText)) {
    size_t k = 0;
    while (peek(k).type == T::kText) ++k;
    const std::string label = plain_words(peek().text);
    const bool choice = label.size() == 1 && peek().text.find(')') != std::string::npos;
    if (k == 1 && choice && i_ == 0 && peek(1).type != T::kEnd) {
      ++i_;  // "(B) 12": the letter before its value
      const Expr value = relation();
      return a_.make(Kind::kFunction, "choice", {a_.make(Kind::kWord, label, {}), value});
    }
    return word_item();
  }
  Exprs sides;
  std::vector<std::string> signs;
  if (!is(T::kRelation)) {
    sides.push_back(operand());
  } else if (!is(T::kRelation, "=") && !is(T::kRelation, "~")) {
    throw NotMath{};
  }
  while (is(T::kRelation) || is(T::kIn)) {
    signs.emplace_back(is(T::kIn) ? "in" : peek().text);
    ++i_;
    if (is(T::kText)) {
      sides.push_back(word_item());
    } else {
      sides.push_back(operand());
    }
    if (sides.size() > 64) throw NotMath{};
  }
  if (sides.size() == signs.size()) return sides.back();  // "= 5"
  return signs.empty() ? sides[0] : relate(sides, signs);
}

Expr Parser::relate(Exprs& sides, std::vector<std::string>& signs) {
  const auto equality = [](const std::string& s) { return s == "=" || s == "~"; };
  if (signs.size() > 1 && signs.back() == "~") {  // a rounded form of what stands before
    while (signs.size() > 1 && signs.back() == "~") {
      signs.pop_back();
      sides.pop_back();
    }
  }
  if (signs.size() == 1 && signs[0] == "in") return a_.make(Kind::kMember, {}, sides);
  if (std::all_of(signs.begin(), signs.end(), equality)) {
    return a_.make(Kind::kRelation, "=", {sides.front(), sides.back()});
  }
  Exprs pairs;
  for (size_t i = 0; i < signs.size(); ++i) {
    std::string sign = signs[i] == "~" ? "=" : signs[i];
    Expr left = sides[i];
    Expr right = sides[i + 1];
    if (sign == ">" || sign == ">=") {
      sign[0] = '<';
      std::swap(left, right);
    }
    pairs.push_back(a_.make(Kind::kRelation, sign, {left, right}));
  }
  if (pairs.size() == 1) return pairs[0];
  return a_.make(Kind::kChain, {}, pairs);
}

Expr Parser::set_expression() {
  Expr x = sum();
  for (;;) {
    Kind kind = Kind::kUnion;
    if (is(T::kCap)) {
      kind = Kind::kIntersection;
    } else if (is(T::kSetminus)) {
      kind = Kind::kDifference;
    } else if (!is(T::kCup)) {
      return x;
    }
    ++i_;
    x = a_.make(kind, {}, {x, sum()});
  }
}

std::string plain_words(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '\\') {
      while (i + 1 < text.size() && std::isalpha(static_cast<unsigned char>(text[i + 1])) != 0) ++i;
    } else if (std::isalnum(c) != 0 || c >= 0x80) {
      out += static_cast<char>(std::tolower(c));
    } else if (!out.empty() && out.back() != ' ' && (c == ' ' || c == '\n' || c == '~' || c == '-')) {
      out += ' ';
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

Expr parse(Arena& arena, std::string_view text, const ParseOptions& options) {
  thread_local std::vector<Token> tokens;
  LexOptions lexing;
  lexing.plain = options.plain;
  lexing.group_commas = options.group_commas;
  if (!lex(text, lexing, tokens) || tokens.size() < 2) return nullptr;
  try {
    return Parser(arena, tokens, options).run();
  } catch (const NotMath&) {
    return nullptr;
  }
}

}  // namespace deepsearch::math
