#include <utility>

#include "verify/parser_impl.h"

namespace deepsearch::math {

Expr Parser::primary() {
  const Deeper deeper(*this);
  Token& t = peek();
  switch (t.type) {
    case T::kNumber:
      ++i_;
      if (options_.grouped != nullptr && t.grouped) *options_.grouped = true;
      return based(number_token(t));
    case T::kLetter:
      ++i_;
      return letter(t.text);
    case T::kConstant:
      ++i_;
      if (is(T::kUnder)) return letter(t.text);
      return a_.constant(t.text);
    case T::kName:
      ++i_;
      return call(t.text);
    case T::kUnit:
      ++i_;
      has_unit_ = true;
      return a_.symbol("unit:" + t.text);
    case T::kInfinity:
      ++i_;
      return a_.make(Kind::kInfinity, {}, {});
    case T::kFrac: {
      ++i_;
      const Expr top = fraction_part();
      return a_.quotient(top, fraction_part());
    }
    case T::kBinom: {
      ++i_;
      const Expr n = fraction_part();
      return a_.function("binomial", {n, fraction_part()});
    }
    case T::kRoot:
      ++i_;
      return root();
    case T::kAccent:
      ++i_;
      return a_.function("op:" + t.text, {group_or_primary()});
    case T::kBig:
      ++i_;
      return big_operator(t.text);
    default:
      return collection(t);
  }
}

// What begins with a bracket, or stands for a set.
Expr Parser::collection(const Token& t) {
  switch (t.type) {
    case T::kReals: {
      ++i_;
      const Expr inf = a_.make(Kind::kInfinity, {}, {});
      return a_.make(Kind::kTuple, {}, {a_.negate(inf), inf}, kOpenLeft | kOpenRight);
    }
    case T::kEmptySet:
      ++i_;
      return a_.make(Kind::kSet, {}, {});
    case T::kBegin:
      return environment();
    case T::kBar:
      return bars();
    case T::kOpen:
      return bracket();
    default:
      throw NotMath{};
  }
}

Expr Parser::group_or_primary() {
  if (accept(T::kOpen, "{")) {
    const Expr x = items();
    expect(T::kClose, "}");
    return x;
  }
  return primary();
}

Expr Parser::letter(std::string name) {
  if (accept(T::kUnder)) name.append("_").append(subscript());
  while (is(T::kPrime)) {
    ++i_;
    name += "'";
  }
  if (name.find("_?") != std::string::npos) throw NotMath{};
  const std::string_view head = std::string_view(name).substr(0, name.find_first_of("_'"));
  const bool named = head == "f" || head == "g" || head == "h" || head == "F" || head == "G" || head == "H" ||
                     head == "Gamma" || head == "phi" || head == "Phi" || head == "W" || head == "P" || head == "Q";
  if (named && is(T::kOpen, "(") && argument_like()) {
    ++i_;
    Exprs args;
    item_list(args);
    expect(T::kClose, ")");
    return a_.function("call:" + name, args);
  }
  return a_.symbol(name);
}

// P(1+r) is a product, P(x) a value; f, g and h are always functions.
bool Parser::argument_like() {
  const std::string& head = tokens_[i_ - 1].text;
  if (head != "P" && head != "Q" && head != "W" && head != "phi" && head != "Phi") return true;
  return (peek(1).type == T::kLetter || peek(1).type == T::kNumber) && peek(2).type == T::kClose;
}

Expr Parser::bars() {
  const std::string sign = peek().text;
  ++i_;
  ++bars_;
  const Expr x = sum();
  --bars_;
  if (!accept(T::kBar, sign)) throw NotMath{};
  if (x->is(Kind::kMatrix)) return a_.function("det", {x});
  return a_.function(sign == "|" ? "abs" : "op:norm", {x});
}

Expr Parser::bracket() {
  const std::string open = peek().text;
  ++i_;
  const int bars = std::exchange(bars_, 0);
  // Decimals and units belong to the element that holds them.
  const bool decimal = decimal_;
  const bool unit = has_unit_;
  Exprs inner;
  if (open == "lfloor" || open == "lceil" || open == "lvert") {
    inner.push_back(sum());
  } else {
    item_list(inner);
  }
  bars_ = bars;
  if (!is(T::kClose)) throw NotMath{};
  const std::string close = peek().text;
  ++i_;
  decimal_ = decimal;
  has_unit_ = unit;
  if (inner.size() == 1) bring_outside(inner[0]);
  return closed(open, close, inner);
}

// The rounding, percent and unit of a bracket's one element are the operand's.
void Parser::bring_outside(Expr& x) {
  if (x->is(Kind::kRounded)) {
    decimal_ = true;
    x = (*x)[0];
  }
  if (x->is(Kind::kPercent) || x->is(Kind::kQuantity)) {
    const Expr q = x;
    Expr value = (*q)[0];
    if (value->is(Kind::kRounded)) {
      decimal_ = true;
      value = (*value)[0];
    }
    has_unit_ = true;
    x = a_.product({value, q->is(Kind::kPercent) ? a_.symbol("%") : (*q)[1]});
  }
}

Expr Parser::closed(std::string_view open, std::string_view close, const Exprs& inner) {
  if (open == "{" && close == "}") {
    if (inner.empty()) throw NotMath{};
    return inner.size() == 1 ? inner[0] : a_.make(Kind::kList, {}, inner);
  }
  if (open == "\\{" && close == "\\}") return a_.make(Kind::kSet, {}, inner);
  if (open == "langle" && close == "rangle") return a_.make(Kind::kTuple, {}, inner, kVector);
  if (open == "lfloor" && close == "rfloor") return a_.function("floor", inner);
  if (open == "lceil" && close == "rceil") return a_.function("ceil", inner);
  if (open == "lvert" && close == "lvert") return a_.function("abs", inner);
  const bool round_or_square = (open == "(" || open == "[") && (close == ")" || close == "]");
  if (!round_or_square || inner.empty()) throw NotMath{};
  if (inner.size() == 1) {
    if ((open == "(") != (close == ")")) throw NotMath{};
    return inner[0];
  }
  const uint32_t tag = (open == "(" ? kOpenLeft : 0) | (close == ")" ? kOpenRight : 0);
  return a_.make(Kind::kTuple, {}, inner, tag);
}

Expr Parser::environment() {
  const std::string name = peek().text;
  ++i_;
  if (name.find("matrix") == std::string::npos && name != "array") throw NotMath{};
  Exprs cells;
  uint32_t columns = 0;
  uint32_t in_row = 0;
  for (;;) {
    if (is(T::kEndEnv) && in_row == 0) break;
    Exprs cell;
    decimal_ = false;
    expand(relation(), cell);
    if (cell.size() != 1) throw NotMath{};
    cells.push_back(cell[0]);
    ++in_row;
    if (accept(T::kAmpersand)) continue;
    if (columns != 0 && columns != in_row) throw NotMath{};
    columns = in_row;
    in_row = 0;
    if (!accept(T::kRow)) break;
  }
  if (!accept(T::kEndEnv, name) || cells.empty()) throw NotMath{};
  decimal_ = false;
  const Expr x = a_.make(Kind::kMatrix, {}, cells, columns);
  return name == "vmatrix" ? a_.function("det", {x}) : x;
}

}  // namespace deepsearch::math
