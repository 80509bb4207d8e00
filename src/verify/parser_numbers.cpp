#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "verify/parser_impl.h"

namespace deepsearch::math {

// "3 1/2" and 3\frac{1}{2}: a whole number and a proper fraction.
bool Parser::mixed(Expr whole, const Token& token, Expr& fraction) {
  if (token.type != T::kNumber || !is_integer(whole) || token.decimal) return false;
  const size_t start = i_;
  Expr top = nullptr;
  Expr bottom = nullptr;
  if (is(T::kFrac)) {
    ++i_;
    top = fraction_part();
    bottom = fraction_part();
  } else if (is(T::kNumber) && peek().space_before && peek(1).type == T::kDivide && peek(2).type == T::kNumber) {
    top = number_token(peek());
    bottom = number_token(peek(2));
    i_ += 3;
  }
  if (top != nullptr && is_integer(top) && is_integer(bottom) && *top->value > 0 && *top->value < *bottom->value) {
    fraction = a_.quotient(top, bottom);
    return true;
  }
  i_ = start;
  return false;
}

namespace {

struct Digits {
  std::string digits;  // without the point
  std::string repeat;  // what repeats for ever
  long exponent = 0;
  long places = 0;  // behind the point
};

Digits split_digits(const std::string& s) {
  Digits out;
  bool point = false;
  for (size_t k = 0; k < s.size(); ++k) {
    if (s[k] == '.') {
      point = true;
    } else if (s[k] == 'r') {
      out.repeat = s.substr(k + 1);
      break;
    } else if (s[k] == 'e') {
      const std::string e = s.substr(k + 1);
      if (e.size() > 6) throw NotMath{};
      out.exponent = std::strtol(e.c_str(), nullptr, 10);
      break;
    } else {
      out.digits += s[k];
      out.places += point ? 1 : 0;
    }
  }
  return out;
}

}  // namespace

Expr Parser::number_token(const Token& token) {
  const Digits number = split_digits(token.text);
  if (std::abs(number.exponent) > 50'000) throw NotMath{};
  mpz_class top;
  if (number.digits.empty() || top.set_str(number.digits, 10) != 0) throw NotMath{};
  a_.spend(static_cast<int64_t>(number.digits.size() / 64));
  mpq_class value(top);
  const auto ten = [](long n) {
    mpz_class z;
    mpz_ui_pow_ui(z.get_mpz_t(), 10, static_cast<unsigned long>(n));
    return z;
  };
  if (!number.repeat.empty()) {
    mpz_class tail(number.repeat, 10);
    const mpz_class nines = ten(static_cast<long>(number.repeat.size())) - 1;
    value += mpq_class(tail, nines);
    value.canonicalize();
  }
  const long exponent = number.exponent - number.places;
  if (exponent < 0) {
    mpq_class scale(mpz_class(1), ten(-exponent));
    value *= scale;
  } else if (exponent > 0) {
    value *= mpq_class(ten(exponent));
  }
  decimal_ = decimal_ || token.decimal;
  return a_.number(value);
}

// The tokens up to the brace that closes, as text: for subscripts.
std::string Parser::group_text(size_t from) {
  std::string out;
  int depth = 0;
  for (size_t k = from; k < tokens_.size() && out.size() < 64; ++k) {
    const Token& t = tokens_[k];
    if (t.type == T::kOpen && t.text == "{") ++depth;
    if (t.type == T::kClose && t.text == "}" && depth-- == 0) break;
    if (t.text.empty()) {
      out += t.type == T::kPlus ? "+" : t.type == T::kMinus ? "-" : t.type == T::kComma ? "," : "?";
    } else if (t.text != "{" && t.text != "}") {
      out += t.text;
    }
  }
  return out;
}

std::string Parser::subscript() {
  if (accept(T::kOpen, "{")) {
    const std::string text = group_text(i_);
    int depth = 1;
    while (depth > 0) {
      if (is(T::kEnd)) throw NotMath{};
      if (is(T::kOpen, "{")) ++depth;
      if (is(T::kClose, "}")) --depth;
      ++i_;
    }
    return text;
  }
  if (is(T::kEnd)) throw NotMath{};
  const std::string text = peek().text.empty() ? "?" : peek().text;
  ++i_;
  return text;
}

Expr Parser::fraction_part() {
  const Deeper deeper(*this);
  if (accept(T::kOpen, "{")) {
    const Expr x = sum();
    expect(T::kClose, "}");
    require(x);
    return x;
  }
  if (!options_.repair) throw NotMath{};
  if (is(T::kNumber) && peek().text.size() > 1 && std::isdigit(static_cast<unsigned char>(peek().text[1])) != 0) {
    Token digit = peek();
    digit.text = digit.text.substr(0, 1);
    digit.decimal = false;
    peek().text.erase(0, 1);
    return number_token(digit);
  }
  const Expr x = primary();
  require(x);
  return x;
}

Expr Parser::based(Expr x) {
  if (!is(T::kUnder)) return x;
  const std::string base = (++i_, subscript());
  if (base.empty() || base.size() > 2 ||
      !std::all_of(base.begin(), base.end(), [](unsigned char c) { return std::isdigit(c) != 0; }) || !is_integer(x)) {
    throw NotMath{};
  }
  const unsigned long b = std::strtoul(base.c_str(), nullptr, 10);
  if (b == 10) return x;
  for (const char c : x->value->get_num().get_str()) {
    if (b < 10 && static_cast<unsigned long>(c - '0') >= b) throw NotMath{};
  }
  return a_.make(Kind::kBased, {}, {x}, static_cast<uint32_t>(b));
}

}  // namespace deepsearch::math
