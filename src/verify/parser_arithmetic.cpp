#include <algorithm>

#include "verify/parser_impl.h"

namespace deepsearch::math {

namespace {

// Words that are not the name of what is counted.
bool prose(const std::string& words) {
  const std::string padded = " " + words + " ";
  for (const std::string_view word : {" or ", " and ", " any ", " not ", " no ", " if ", " other ", " to ", " is ",
                                      " are ", " but ", " all ", " maybe ", " for ", " where ", " when "}) {
    if (padded.find(word) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

// The signs before a term: −1, 1, or 0 where there is none. `both`: 1 for ±, −1 for ∓.
int Parser::signs(int& both) {
  int sign = 1;
  bool any = false;
  for (both = 0;; any = true) {
    if (accept(T::kMinus)) {
      sign = -sign;
    } else if (accept(T::kPlusMinus)) {
      both = 1;
    } else if (accept(T::kMinusPlus)) {
      both = -1;
    } else if (!accept(T::kPlus)) {
      return any ? sign : 0;
    }
  }
}

Expr Parser::sum() {
  const Deeper deeper(*this);
  Exprs terms;
  bool first = true;
  for (;;) {
    int both = 0;
    const int sign = signs(both);
    const bool any = sign != 0;
    if (!any && !first) break;
    first = false;
    Expr x = term();
    if (!any && !arithmetic(x)) return x;
    require(x);
    if (both != 0) {
      has_sign_ = true;
      x = a_.product({a_.number(both), a_.symbol(kPlusMinusName), x});
    }
    terms.push_back(sign < 0 ? a_.negate(x) : x);
  }
  return terms.size() == 1 ? terms[0] : a_.sum(terms);
}

bool Parser::starts_primary() {
  switch (peek().type) {
    case T::kNumber:
    case T::kLetter:
    case T::kName:
    case T::kConstant:
    case T::kUnit:
    case T::kFrac:
    case T::kBinom:
    case T::kRoot:
    case T::kBegin:
    case T::kBig:
    case T::kAccent:
    case T::kInfinity:
    case T::kOpen:
      return true;
    case T::kBar:
      return bars_ == 0;
    default:
      return false;
  }
}

// A sign of multiplication and what follows it.
void Parser::times(Exprs& factors) {
  const std::string sign = peek().text;
  ++i_;
  const Expr y = signed_factor();
  if (sign.empty() || sign == "*" || sign == "\\times") {
    factors.push_back(y);
  } else {
    const Expr left = product(factors);
    factors = {a_.function("op:" + sign, {left, y})};
  }
}

Expr Parser::ratio(Expr first) {
  Exprs parts{first};
  while (accept(T::kColon)) parts.push_back(postfix());
  for (Expr y : parts) require(y);
  return a_.make(Kind::kRatio, {}, parts);
}

Expr Parser::term() {
  const Deeper deeper(*this);
  Exprs factors;
  Token before = peek();
  const size_t start = i_;
  Expr x = postfix();
  if (i_ == start + 1) {
    Expr fraction = nullptr;
    if (x->is(Kind::kNumber) && mixed(x, before, fraction)) x = a_.sum({x, fraction});
  }
  if (!starts_primary() && !is(T::kTimes) && !is(T::kDivide) && !is(T::kColon)) return x;
  factors.push_back(x);
  bool unit = before.type == T::kUnit;
  for (;;) {
    if (is(T::kTimes)) {
      times(factors);
      continue;
    }
    if (is(T::kDivide)) {
      ++i_;
      const Expr y = signed_factor();
      require(y);
      factors.push_back(a_.power(y, a_.number(-1)));
      continue;
    }
    if (is(T::kColon)) return ratio(product(factors));
    if (!starts_primary()) break;
    if (is(T::kNumber) && (tokens_[i_ - 1].type == T::kNumber || unit)) throw NotMath{};
    unit = unit || is(T::kUnit);
    if (is(T::kText)) throw NotMath{};
    factors.push_back(postfix());
  }
  return product(factors);
}

Expr Parser::signed_factor() {
  const Deeper deeper(*this);
  if (accept(T::kMinus)) return a_.negate(signed_factor());
  if (accept(T::kPlus)) return signed_factor();
  return postfix();
}

Expr Parser::product(const Exprs& factors) {
  Expr matrix = nullptr;
  Exprs rest;
  for (Expr x : factors) {
    if (x->is(Kind::kMatrix) && matrix == nullptr) {
      matrix = x;
    } else {
      require(x);
      rest.push_back(x);
    }
  }
  if (matrix == nullptr) return a_.product(rest);
  const Expr factor = a_.product(rest);
  Exprs entries;
  for (Expr x : matrix->children()) {
    if (x->is(Kind::kRounded)) x = (*x)[0];
    require(x);
    entries.push_back(a_.product({factor, x}));
  }
  return a_.make(Kind::kMatrix, {}, entries, matrix->tag);
}

// ^{\circ}, ^{\prime}, ^{*}: a mark, not a power. Behind the brace that opens.
bool Parser::braced_mark(Expr& out) {
  if (is(T::kDegree) || is(T::kPrime)) {
    const bool degree = is(T::kDegree);
    ++i_;
    while (accept(T::kPrime)) {
    }
    expect(T::kClose, "}");
    out = a_.symbol(degree ? "unit:deg" : "'");
    return true;
  }
  const std::string source = group_text(i_);
  if (source != "*" && source != "\\prime") return false;
  while (!is(T::kClose)) ++i_;
  ++i_;
  out = a_.symbol("'" + source);
  return true;
}

Expr Parser::exponent() {
  const Deeper deeper(*this);
  if (accept(T::kMinus)) return a_.negate(exponent());
  if (accept(T::kPlus)) return exponent();
  Expr x = nullptr;
  if (accept(T::kOpen, "{")) {
    if (braced_mark(x)) return x;
    x = sum();
    expect(T::kClose, "}");
  } else if (accept(T::kDegree)) {
    return a_.symbol("unit:deg");
  } else if (accept(T::kPrime)) {
    return a_.symbol("'");
  } else if (is(T::kTimes, "*")) {
    ++i_;
    return a_.symbol("'*");
  } else {
    x = primary();
    while (is(T::kBang)) {
      ++i_;
      x = a_.function("factorial", {x});
    }
  }
  require(x);
  if (accept(T::kCaret)) x = a_.power(x, exponent());
  return x;
}

Expr Parser::postfix() {
  const Deeper deeper(*this);
  return postfix_of(primary());
}

Expr Parser::postfix_of(Expr x) {
  for (;;) {
    if (accept(T::kCaret)) {
      const Expr e = exponent();
      if (e->is(Kind::kSymbol, "unit:deg")) {
        require(x);
        has_unit_ = true;
        x = a_.product({x, e});
      } else if (!arithmetic(x) || (e->is(Kind::kSymbol) && e->name.starts_with("'"))) {
        x = a_.function("op:^", {x, e});
      } else {
        x = a_.power(x, e);
      }
    } else if (accept(T::kBang)) {
      require(x);
      x = a_.function("factorial", {x});
    } else if (accept(T::kPercent)) {
      require(x);
      has_unit_ = true;
      x = a_.product({x, a_.symbol("%")});
    } else if (accept(T::kDegree)) {
      require(x);
      has_unit_ = true;
      x = a_.product({x, a_.symbol("unit:deg")});
    } else if (accept(T::kPrime)) {
      x = a_.function("op:prime", {x});
    } else if (is(T::kText) && i_ > 0) {
      // A counted thing: "5 apples"; not a sentence.
      const std::string word = plain_words(peek().text);
      if (!arithmetic(x) || word.empty() || std::count(word.begin(), word.end(), ' ') > 2 || prose(word)) {
        throw NotMath{};
      }
      ++i_;
      has_unit_ = true;
      x = a_.product({x, a_.symbol("unit:" + word)});
    } else {
      return x;
    }
  }
}

}  // namespace deepsearch::math
