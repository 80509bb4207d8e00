#include "verify/parser_impl.h"

namespace deepsearch::math {

namespace {
constexpr long kMaxSumTerms = 400;
}

Expr Parser::call(std::string name) {
  Expr base = nullptr;
  Expr power = nullptr;
  if (accept(T::kUnder)) {
    if (name != "log") {
      name.append("_").append(subscript());
    } else if (accept(T::kOpen, "{")) {
      base = sum();
      expect(T::kClose, "}");
    } else {
      base = primary();
    }
  }
  if (accept(T::kCaret)) power = exponent();
  const Exprs args = arguments(argument());
  Expr x = apply(name, base, args);
  if (power != nullptr) {
    static constexpr std::string_view kInvertible = " sin cos tan sec csc cot sinh cosh tanh ";
    if (power->is(Kind::kNumber) && *power->value == -1 &&
        kInvertible.find(" " + name + " ") != std::string_view::npos) {
      return a_.function("arc" + name, args);
    }
    x = a_.power(x, power);
  }
  return x;
}

// What a function is applied to: a bracket, or what stands close to it.
Expr Parser::argument() {
  if (!is(T::kOpen, "(") && !is(T::kOpen, "{") && !is(T::kOpen, "[")) return juxtaposed();
  const bool saved = has_unit_;
  has_unit_ = false;
  const Expr x = primary();
  has_unit_ = saved;
  return x;
}

Expr Parser::juxtaposed() {
  Exprs factors;
  if (is(T::kMinus)) {
    ++i_;
    factors.push_back(a_.number(-1));
  }
  while (is(T::kNumber) || is(T::kLetter) || is(T::kConstant) || is(T::kFrac) || is(T::kRoot) || is(T::kBar) ||
         (factors.empty() && starts_primary())) {
    if (is(T::kBar) && bars_ > 0) break;
    const size_t from = i_;
    factors.push_back(postfix());
    if (tokens_[from].type == T::kName || tokens_[from].type == T::kBig) break;
    if (is(T::kDivide) && peek(1).type == T::kNumber && tokens_[from].type == T::kConstant) {
      ++i_;  // \sin \pi/4
      factors.push_back(a_.power(postfix(), a_.number(-1)));
      break;
    }
  }
  if (factors.empty()) throw NotMath{};
  return product(factors);
}

Exprs Parser::arguments(Expr argument) {
  Exprs args = argument->is(Kind::kList) || argument->is(Kind::kTuple)
                   ? Exprs(argument->args, argument->args + argument->n_args)
                   : Exprs{argument};
  for (Expr& x : args) {
    if (x->is(Kind::kRounded)) {
      decimal_ = true;
      x = (*x)[0];
    }
    if (x->is(Kind::kQuantity)) x = a_.product({(*x)[0], (*x)[1]});
    require(x);
    const Expr degrees = a_.quotient(a_.constant("pi"), a_.number(180));
    x = a_.substitute(x, a_.symbol("unit:deg"), degrees);
  }
  return args;
}

Expr Parser::apply(const std::string& name, Expr base, const Exprs& args) {
  const auto reciprocal = [&](std::string_view of) { return a_.power(a_.function(of, args), a_.number(-1)); };
  if (args.size() != 1) return a_.function(name, args);
  if (name == "log" && base != nullptr) {
    return a_.quotient(a_.function("ln", args), a_.function("ln", {base}));
  }
  if (name == "log" && !options_.log_ten) return a_.function("ln", args);
  if (name == "lg" || name == "log") return a_.quotient(a_.function("ln", args), a_.function("ln", {a_.number(10)}));
  if (name == "tan") return a_.quotient(a_.function("sin", args), a_.function("cos", args));
  if (name == "cot") return a_.quotient(a_.function("cos", args), a_.function("sin", args));
  if (name == "sec") return reciprocal("cos");
  if (name == "csc") return reciprocal("sin");
  if (name == "tanh") return a_.quotient(a_.function("sinh", args), a_.function("cosh", args));
  if (name == "coth") return a_.quotient(a_.function("cosh", args), a_.function("sinh", args));
  if (name == "sech") return reciprocal("cosh");
  if (name == "csch") return reciprocal("sinh");
  return a_.function(name, args);
}

Expr Parser::root() {
  Expr degree = nullptr;
  if (accept(T::kOpen, "[")) {
    degree = sum();
    expect(T::kClose, "]");
  }
  Expr x = nullptr;
  if (accept(T::kOpen, "{")) {
    x = sum();
    expect(T::kClose, "}");
  } else {
    x = primary();
  }
  require(x);
  if (degree == nullptr) return a_.function("sqrt", {x});
  // The odd root of a negative number is the real one.
  if (is_integer(degree) && x->is(Kind::kNumber) && *x->value < 0 &&
      mpz_odd_p(degree->value->get_num().get_mpz_t()) != 0) {
    return a_.negate(a_.power(a_.negate(x), a_.power(degree, a_.number(-1))));
  }
  return a_.power(x, a_.power(degree, a_.number(-1)));
}

// Below and above a sum's sign.
void Parser::limits_of(Expr& below, Expr& above) {
  while (is(T::kUnder) || is(T::kCaret)) {
    const bool under = is(T::kUnder);
    ++i_;
    Expr x = nullptr;
    if (accept(T::kOpen, "{")) {
      x = items();
      expect(T::kClose, "}");
    } else {
      x = primary();
    }
    (under ? below : above) = x;
  }
}

Expr Parser::big_operator(const std::string& name) {
  Expr below = nullptr;
  Expr above = nullptr;
  limits_of(below, above);
  Expr body = term();
  if (name == "int" || name == "oint" || name == "iint") {
    while (is(T::kPlus) || is(T::kMinus)) {
      const bool minus = is(T::kMinus);
      ++i_;
      const Expr next = term();
      body = a_.sum({body, minus ? a_.negate(next) : next});
    }
  }
  require(body);
  if ((name == "sum" || name == "prod") && below != nullptr && above != nullptr && below->is(Kind::kRelation, "=") &&
      (*below)[0]->is(Kind::kSymbol) && is_integer((*below)[1]) && is_integer(above)) {
    const mpz_class count = above->value->get_num() - (*below)[1]->value->get_num() + 1;
    if (count >= 0 && count <= kMaxSumTerms) {
      Exprs parts;
      for (mpz_class k = (*below)[1]->value->get_num(); k <= above->value->get_num(); ++k) {
        parts.push_back(a_.substitute(body, (*below)[0], a_.number(mpq_class(k))));
      }
      return name == "sum" ? a_.sum(parts) : a_.product(parts);
    }
  }
  Exprs args{body};
  if (below != nullptr) args.push_back(below);
  if (above != nullptr) args.push_back(above);
  return a_.function("op:" + name, args);
}

}  // namespace deepsearch::math
