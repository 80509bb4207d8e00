#include "verify/numeric.h"

#include <algorithm>
#include <cstdlib>

#include "verify/interval.h"

namespace deepsearch::math {

namespace {

constexpr mpfr_prec_t kQuick = 64;
constexpr mpfr_prec_t kFine = 576;
constexpr long kEqualBits = 400;  // agreement that counts as equality at kFine
constexpr int kPoints = 3;

struct Complex {
  explicit Complex(mpfr_prec_t p) : re(p), im(p) {}
  bool real() const { return im.is_zero(); }
  bool has_zero() const { return re.has_zero() && im.has_zero(); }
  Real re;
  Real im;
};

uint64_t scramble(uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// Steps by precision: one is about a tenth of a microsecond.
struct Cost {
  int quick;
  int fine;
};
constexpr Cost kNode{2, 8};
constexpr Cost kProduct{1, 24};      // of complex numbers
constexpr Cost kElementary{20, 90};  // exp, log, sin or cos of an interval
constexpr Cost kArc{45, 340};
constexpr Cost kGamma{300, 1900};

// MPFR keeps constants and scratch numbers for each thread, and frees them for none but the last.
void free_caches_with_thread() {
  struct Caches {
    ~Caches() { mpfr_free_cache2(MPFR_FREE_LOCAL_CACHE); }
  };
  thread_local const Caches caches;
}

class Evaluator {
 public:
  // `wide`: points far apart, for functions that are constant in pieces.
  Evaluator(Arena& arena, mpfr_prec_t precision, int point, bool wide = false)
      : a_(arena), p_(precision), point_(point), wide_(wide) {
    free_caches_with_thread();
  }

  bool value(Expr x, Complex& out) {
    charge(kNode);
    switch (x->kind) {
      case Kind::kNumber:
        set(out.re, *x->value);
        set(out.im, 0);
        return out.re.sane();
      case Kind::kConstant:
        return constant(x->name, out);
      case Kind::kSymbol:
        return random(x, out);
      case Kind::kSum: {
        Complex y(p_);
        if (!value((*x)[0], out)) return false;
        for (uint32_t k = 1; k < x->n_args; ++k) {
          if (!value((*x)[k], y) || !add(out.re, out.re, y.re) || !add(out.im, out.im, y.im)) return false;
        }
        return true;
      }
      case Kind::kProduct: {
        Complex y(p_);
        if (!value((*x)[0], out)) return false;
        for (uint32_t k = 1; k < x->n_args; ++k) {
          if (!value((*x)[k], y) || !times(out, y)) return false;
        }
        return true;
      }
      case Kind::kPower:
        return power((*x)[0], (*x)[1], out);
      case Kind::kFunction:
        return function(x, out);
      default:
        return false;
    }
  }

 private:
  void charge(const Cost& cost, int times = 1) { a_.spend(int64_t{times} * (p_ <= kQuick ? cost.quick : cost.fine)); }

  bool constant(std::string_view name, Complex& out) {
    set(out.re, 0);
    set(out.im, 0);
    if (name == "i") {
      set(out.im, 1);
    } else if (name == "pi") {
      pi(out.re);
    } else {
      charge(kElementary);
      Real one(p_);
      set(one, 1);
      return exp(out.re, one);
    }
    return true;
  }

  // The first point is positive throughout, the others have mixed signs.
  bool random(Expr x, Complex& out) {
    uint64_t bits = x->hash;
    bits = scramble(bits ^ scramble(static_cast<uint64_t>(point_) * 0x2545F4914F6CDD1DULL));
    mpq_class q(static_cast<unsigned long>(bits & 0xFFFFFFFFFFULL), 1UL << 39);  // 0 to 2
    q.canonicalize();
    q += mpq_class(1, 3);
    if (wide_) q *= 41;
    if (point_ > 0 && (bits >> 50 & 1U) != 0) q = -q;
    set(out.re, q);
    set(out.im, 0);
    return true;
  }

  bool times(Complex& x, const Complex& y) {
    if (x.real() && y.real()) return mul(x.re, x.re, y.re);
    charge(kProduct);
    Real a(p_);
    Real b(p_);
    Real c(p_);
    Real d(p_);
    if (!mul(a, x.re, y.re) || !mul(b, x.im, y.im) || !mul(c, x.re, y.im) || !mul(d, x.im, y.re)) return false;
    return sub(x.re, a, b) && add(x.im, c, d);
  }

  bool inverse(Complex& x) {
    Real one(p_);
    set(one, 1);
    if (x.real()) return div(x.re, one, x.re);
    Real n(p_);
    if (!norm(n, x)) return false;
    negate(x.im);
    return div(x.re, x.re, n) && div(x.im, x.im, n);
  }

  bool square(Real& out, const Real& x) {
    if (!mul(out, x, x)) return false;
    if (mpfr_sgn(out.lo) < 0) mpfr_set_zero(out.lo, 1);
    return true;
  }
  bool norm(Real& out, const Complex& x) {
    Real t(p_);
    return square(out, x.re) && square(t, x.im) && add(out, out, t);
  }

  bool exponential(Complex& x) {
    charge(kElementary, x.real() ? 1 : 3);
    Complex e(p_);
    if (!exp(e.re, x.re)) return false;
    if (x.real()) {
      x.re = e.re;
      return true;
    }
    Real c(p_);
    Real s(p_);
    return cos(c, x.im) && sin(s, x.im) && mul(x.re, e.re, c) && mul(x.im, e.re, s);
  }

  bool logarithm(Complex& x) {
    charge(kElementary);
    if (!x.real()) charge(kArc);
    Real half(p_);
    set(half, mpq_class(1, 2));
    Real turn(p_);
    pi(turn);
    if (x.real()) {
      const bool negative = mpfr_sgn(x.re.hi) < 0;
      if (negative) {
        negate(x.re);
        x.im = turn;
      }
      return log(x.re, x.re);
    }
    Real n(p_);
    if (!norm(n, x) || !log(n, n) || !mul(n, n, half)) return false;
    Real angle(p_);
    Real ratio(p_);
    if (mpfr_sgn(x.re.lo) > 0) {
      if (!div(ratio, x.im, x.re) || !atan(angle, ratio)) return false;
    } else if (mpfr_sgn(x.im.lo) > 0 || mpfr_sgn(x.im.hi) < 0) {
      Real quarter(p_);
      if (!mul(quarter, turn, half) || !div(ratio, x.re, x.im) || !atan(angle, ratio)) return false;
      if (mpfr_sgn(x.im.hi) < 0) negate(quarter);
      if (!sub(angle, quarter, angle)) return false;
    } else {
      return false;  // on the cut
    }
    x.re = n;
    x.im = angle;
    return true;
  }

  bool power(Expr base, Expr exponent, Complex& out) {
    Complex b(p_);
    if (!value(base, b)) return false;
    if (exponent->is(Kind::kNumber)) {
      const mpq_class& e = *exponent->value;
      if (e.get_den() == 1 && abs(e.get_num()) < 100'000) return whole_power(b, e.get_num().get_si(), out);
      if (e == mpq_class(1, 2) && b.real() && !b.re.has_zero()) {
        const bool negative = mpfr_sgn(b.re.hi) < 0;
        if (negative) negate(b.re);
        set(out.re, 0);
        set(out.im, 0);
        return sqrt(negative ? out.im : out.re, b.re);
      }
      if (b.real() && b.re.is_zero()) {
        set(out.re, 0);
        set(out.im, 0);
        return e > 0;
      }
    }
    Complex e(p_);
    if (!value(exponent, e)) return false;
    if (base->is(Kind::kConstant, "e")) {
      out = e;
      return exponential(out);
    }
    if (!logarithm(b) || !times(b, e)) return false;
    out = b;
    return exponential(out);
  }

  bool whole_power(Complex& base, long n, Complex& out) {
    if (n < 0 && !inverse(base)) return false;
    unsigned long k = static_cast<unsigned long>(n < 0 ? -n : n);
    set(out.re, 1);
    set(out.im, 0);
    while (k > 0) {
      charge(kNode);
      if ((k & 1U) != 0 && !times(out, base)) return false;
      k >>= 1U;
      if (k == 0) break;
      if (base.real()) {
        if (!square(base.re, base.re)) return false;
      } else {
        const Complex copy(base);
        if (!times(base, copy)) return false;
      }
    }
    return true;
  }

  // sin(a+bi) = sin a cosh b + i cos a sinh b; cos(a+bi) = cos a cosh b − i sin a sinh b.
  bool sine(Complex& x, bool cosine) {
    charge(kElementary, 2);
    Real s(p_);
    Real c(p_);
    if (!sin(s, x.re) || !cos(c, x.re)) return false;
    if (x.real()) {
      x.re = cosine ? c : s;
      return true;
    }
    Real ch(p_);
    Real sh(p_);
    if (!hyperbolic(x.im, ch, sh)) return false;
    if (!cosine) return mul(x.re, s, ch) && mul(x.im, c, sh);
    negate(s);
    return mul(x.re, c, ch) && mul(x.im, s, sh);
  }
  bool hyperbolic(const Real& x, Real& ch, Real& sh) {
    charge(kElementary, 2);
    Real up(p_);
    Real down(p_);
    Real minus(x);
    Real half(p_);
    set(half, mpq_class(1, 2));
    negate(minus);
    return exp(up, x) && exp(down, minus) && add(ch, up, down) && mul(ch, ch, half) && sub(sh, up, down) &&
           mul(sh, sh, half);
  }

  bool function(Expr x, Complex& out) {
    const std::string_view name = x->name;
    if (name == "undefined") return false;
    if (name.starts_with("op:") || name.starts_with("call:") || x->n_args == 0) return random(x, out);
    Complex y(p_);
    if (!value((*x)[0], y)) return false;
    const auto take = [&] {
      out = y;
      return true;
    };
    if (name == "ln" || name == "log") return logarithm(y) && take();
    if (name == "sin" || name == "cos") return sine(y, name == "cos") && take();
    if (name == "abs") {
      set(out.im, 0);
      if (y.real() && !y.re.has_zero()) {
        if (mpfr_sgn(y.re.hi) < 0) negate(y.re);
        out.re = y.re;
        return true;
      }
      return norm(out.re, y) && sqrt(out.re, out.re);
    }
    if (name == "binomial") return binomial(y, (*x)[1], out);
    if (!y.real()) return random(x, out);
    set(out.im, 0);
    if (name == "floor" || name == "ceil") {
      mpfr_rint(out.re.lo, y.re.lo, name == "floor" ? MPFR_RNDD : MPFR_RNDU);
      mpfr_rint(out.re.hi, y.re.hi, name == "floor" ? MPFR_RNDD : MPFR_RNDU);
      return mpfr_equal_p(out.re.lo, out.re.hi) != 0;
    }
    if (name == "factorial") {
      charge(kGamma);
      Real one(p_);
      set(one, 1);
      return add(y.re, y.re, one) && gamma(out.re, y.re);
    }
    if (name.starts_with("arc")) charge(kArc);
    if (name == "arctan") return atan(out.re, y.re);
    if (name == "arccot") {
      Real quarter(p_);
      Real half(p_);
      set(half, mpq_class(1, 2));
      pi(quarter);
      return mul(quarter, quarter, half) && atan(out.re, y.re) && sub(out.re, quarter, out.re);
    }
    if (name == "arcsin") return asin(out.re, y.re);
    if (name == "arccos") return acos(out.re, y.re);
    if (name == "sinh" || name == "cosh") {
      Real ch(p_);
      Real sh(p_);
      if (!hyperbolic(y.re, ch, sh)) return false;
      out.re = name == "sinh" ? sh : ch;
      return true;
    }
    return random(x, out);
  }

  bool binomial(const Complex& n, Expr lower, Complex& out) {
    Complex k(p_);
    if (!value(lower, k) || !n.real() || !k.real()) return false;
    charge(kGamma, 3);
    Real one(p_);
    Real top(p_);
    Real a(p_);
    Real b(p_);
    set(one, 1);
    set(out.im, 0);
    return sub(b, n.re, k.re) && add(b, b, one) && gamma(b, b) && add(a, k.re, one) && gamma(a, a) &&
           add(top, n.re, one) && gamma(top, top) && mul(a, a, b) && div(out.re, top, a);
  }

  Arena& a_;
  mpfr_prec_t p_;
  int point_;
  bool wide_;
};

bool has_symbols(Expr x) {
  if (x->is(Kind::kSymbol) || (x->is(Kind::kFunction) && x->n_args == 0)) return true;
  if (x->is(Kind::kFunction) && (x->name.starts_with("op:") || x->name.starts_with("call:"))) return true;
  for (Expr y : x->children()) {
    if (has_symbols(y)) return true;
  }
  return false;
}

// The rectangle is within 2^-kEqualBits of zero, against the size of `scale`.
bool negligible(const Complex& x, const Complex& scale) {
  mpfr_exp_t size = 0;
  for (mpfr_srcptr y : {static_cast<mpfr_srcptr>(scale.re.lo), static_cast<mpfr_srcptr>(scale.re.hi),
                        static_cast<mpfr_srcptr>(scale.im.lo), static_cast<mpfr_srcptr>(scale.im.hi)}) {
    if (mpfr_zero_p(y) == 0) size = std::max(size, mpfr_get_exp(y));
  }
  for (mpfr_srcptr y : {static_cast<mpfr_srcptr>(x.re.lo), static_cast<mpfr_srcptr>(x.re.hi),
                        static_cast<mpfr_srcptr>(x.im.lo), static_cast<mpfr_srcptr>(x.im.hi)}) {
    if (mpfr_zero_p(y) == 0 && mpfr_get_exp(y) > size - kEqualBits) return false;
  }
  return true;
}

bool in_pieces(Expr x) {
  if (x->is(Kind::kFunction, "floor") || x->is(Kind::kFunction, "ceil")) return true;
  return std::any_of(x->args, x->args + x->n_args, in_pieces);
}

Answer zero_at(Arena& arena, Expr x, Expr scale, int point, bool wide) {
  for (const mpfr_prec_t precision : {kQuick, kFine}) {
    Evaluator evaluator(arena, precision, point, wide);
    Complex value(precision);
    if (!evaluator.value(x, value)) {
      if (precision == kQuick) continue;
      return Answer::kUnknown;
    }
    if (!value.has_zero()) return Answer::kNo;
    if (precision == kQuick) continue;
    Complex size(precision);
    if (!evaluator.value(scale, size)) return Answer::kUnknown;
    return negligible(value, size) ? Answer::kYes : Answer::kUnknown;
  }
  return Answer::kUnknown;
}

}  // namespace

Answer is_zero(Arena& arena, Expr x, Expr scale) {
  if (x->is(Kind::kNumber)) return *x->value == 0 ? Answer::kYes : Answer::kNo;
  const bool wide = in_pieces(x);
  const int points = !has_symbols(x) ? 1 : wide ? 4 * kPoints : kPoints;
  int equal = 0;
  for (int point = 0; point < points; ++point) {
    const Answer answer = zero_at(arena, x, scale, point, wide);
    if (answer == Answer::kNo) return answer;
    if (answer == Answer::kYes) ++equal;
  }
  return equal >= (points + 1) / 2 ? Answer::kYes : Answer::kUnknown;
}

Answer proportional(Arena& arena, Expr f, Expr g) {
  if (!has_symbols(f) || !has_symbols(g)) return Answer::kUnknown;
  Complex first(kFine);
  Complex ratio(kFine);
  for (int point = 0; point < kPoints; ++point) {
    Evaluator evaluator(arena, kFine, point);
    Complex a(kFine);
    Complex b(kFine);
    if (!evaluator.value(f, a) || !evaluator.value(g, b) || !a.real() || !b.real() || a.has_zero() || b.has_zero()) {
      return Answer::kUnknown;
    }
    if (!div(ratio.re, a.re, b.re)) return Answer::kUnknown;
    if (point == 0) {
      first = ratio;
      continue;
    }
    Complex d(kFine);
    if (!sub(d.re, ratio.re, first.re)) return Answer::kUnknown;
    if (!d.has_zero()) return Answer::kNo;
    if (!negligible(d, first)) return Answer::kUnknown;
  }
  return Answer::kYes;
}

bool sign_of(Arena& arena, Expr x, int& out) {
  if (x->is(Kind::kNumber)) {
    out = sgn(*x->value);
    return true;
  }
  if (has_symbols(x)) return false;
  for (const mpfr_prec_t precision : {kQuick, kFine}) {
    Complex value(precision);
    if (!Evaluator(arena, precision, 0).value(x, value) || !value.real()) return false;
    if (value.re.has_zero()) continue;
    out = mpfr_sgn(value.re.lo);
    return true;
  }
  out = 0;
  return is_zero(arena, x, arena.number(1)) == Answer::kYes;
}

bool round_to_places(Arena& arena, Expr x, int places, mpz_class& out) {
  if (has_symbols(x) || std::abs(places) > 20'000) return false;
  mpz_class scale;
  mpz_ui_pow_ui(scale.get_mpz_t(), 10, static_cast<unsigned long>(std::abs(places)));
  const mpq_class factor = places >= 0 ? mpq_class(scale) : mpq_class(mpz_class(1), scale);
  const auto round = [](const mpq_class& q) {  // halves away from zero
    mpz_class twice = abs(q.get_num()) * 2 + q.get_den();
    mpz_class r = twice / (q.get_den() * 2);
    return mpz_class(q < 0 ? mpz_class(-r) : r);
  };
  if (x->is(Kind::kNumber)) {
    out = round(*x->value * factor);
    return true;
  }
  Complex value(kFine);
  if (!Evaluator(arena, kFine, 0).value(x, value) || !value.real()) return false;
  for (mpfr_srcptr y : {static_cast<mpfr_srcptr>(value.re.lo), static_cast<mpfr_srcptr>(value.re.hi)}) {
    if (mpfr_zero_p(y) == 0 && std::abs(mpfr_get_exp(y)) > 100'000) return false;
  }
  mpq_class low;
  mpq_class high;
  mpfr_get_q(low.get_mpq_t(), value.re.lo);
  mpfr_get_q(high.get_mpq_t(), value.re.hi);
  out = round(low * factor);
  return out == round(high * factor);
}

bool places_for_digits(Arena& arena, Expr x, int digits, int& places) {
  if (has_symbols(x)) return false;
  Complex value(kQuick);
  if (!Evaluator(arena, kQuick, 0).value(x, value) || !value.real() || value.re.has_zero()) return false;
  const double log10 = static_cast<double>(mpfr_get_exp(value.re.lo)) * 0.30102999566398;
  places = digits - static_cast<int>(log10 < 0 ? log10 - 1 : log10);
  // The estimate may be one off; settle it on the number itself.
  mpz_class r;
  if (!round_to_places(arena, x, places, r)) return false;
  while (mpz_sizeinbase(r.get_mpz_t(), 10) > static_cast<size_t>(digits) && r != 0) {
    --places;
    r = abs(r) / 10;
    if (r.get_str().size() <= static_cast<size_t>(digits)) break;
  }
  return true;
}

}  // namespace deepsearch::math
