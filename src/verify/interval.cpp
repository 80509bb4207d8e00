#include "verify/interval.h"

namespace deepsearch::math {

namespace {

constexpr mpfr_exp_t kLargestExponent = mpfr_exp_t{1} << 24;
constexpr mpfr_exp_t kLargestArgument = 20;  // of exp and the gamma function: 2^20
constexpr mpfr_exp_t kLargestAngle = 4096;   // of sin and cos: 2^4096

bool sane_end(mpfr_srcptr x) {
  if (mpfr_number_p(x) == 0) return false;
  return mpfr_zero_p(x) != 0 || (mpfr_get_exp(x) < kLargestExponent && mpfr_get_exp(x) > -kLargestExponent);
}

bool below(const Real& x, mpfr_exp_t exponent) {
  return (mpfr_zero_p(x.lo) != 0 || mpfr_get_exp(x.lo) < exponent) &&
         (mpfr_zero_p(x.hi) != 0 || mpfr_get_exp(x.hi) < exponent);
}

using Function = int (*)(mpfr_ptr, mpfr_srcptr, mpfr_rnd_t);

bool rising(Real& out, const Real& x, Function f) {
  f(out.lo, x.lo, MPFR_RNDD);
  f(out.hi, x.hi, MPFR_RNDU);
  return out.sane();
}

// A function whose slope is never above 1: its value at the lower end, widened by the argument's width.
bool gentle(Real& out, const Real& x, Function f) {
  if (!below(x, kLargestAngle)) return false;
  Real width(x.precision());
  mpfr_sub(width.hi, x.hi, x.lo, MPFR_RNDU);
  Real y(x.precision());
  f(y.lo, x.lo, MPFR_RNDD);
  f(y.hi, x.lo, MPFR_RNDU);
  mpfr_sub(out.lo, y.lo, width.hi, MPFR_RNDD);
  mpfr_add(out.hi, y.hi, width.hi, MPFR_RNDU);
  return out.sane();
}

}  // namespace

bool Real::sane() const {
  return sane_end(lo) && sane_end(hi);
}

void set(Real& out, const mpq_class& q) {
  mpfr_set_q(out.lo, q.get_mpq_t(), MPFR_RNDD);
  mpfr_set_q(out.hi, q.get_mpq_t(), MPFR_RNDU);
}

bool add(Real& out, const Real& a, const Real& b) {
  mpfr_add(out.lo, a.lo, b.lo, MPFR_RNDD);
  mpfr_add(out.hi, a.hi, b.hi, MPFR_RNDU);
  return out.sane();
}

bool sub(Real& out, const Real& a, const Real& b) {
  Real c(b);
  negate(c);
  return add(out, a, c);
}

void negate(Real& x) {
  mpfr_neg(x.lo, x.lo, MPFR_RNDN);
  mpfr_neg(x.hi, x.hi, MPFR_RNDN);
  mpfr_swap(x.lo, x.hi);
}

bool mul(Real& out, const Real& a, const Real& b) {
  Real y(a.precision());
  if (mpfr_sgn(a.lo) >= 0 && mpfr_sgn(b.lo) >= 0) {
    mpfr_mul(y.lo, a.lo, b.lo, MPFR_RNDD);
    mpfr_mul(y.hi, a.hi, b.hi, MPFR_RNDU);
  } else {
    Real t(a.precision());
    bool first = true;
    for (mpfr_srcptr p : {static_cast<mpfr_srcptr>(a.lo), static_cast<mpfr_srcptr>(a.hi)}) {
      for (mpfr_srcptr q : {static_cast<mpfr_srcptr>(b.lo), static_cast<mpfr_srcptr>(b.hi)}) {
        mpfr_mul(t.lo, p, q, MPFR_RNDD);
        mpfr_mul(t.hi, p, q, MPFR_RNDU);
        if (first || mpfr_less_p(t.lo, y.lo) != 0) mpfr_set(y.lo, t.lo, MPFR_RNDD);
        if (first || mpfr_greater_p(t.hi, y.hi) != 0) mpfr_set(y.hi, t.hi, MPFR_RNDU);
        first = false;
      }
    }
  }
  out = y;
  return out.sane();
}

bool div(Real& out, const Real& a, const Real& b) {
  if (b.has_zero()) return false;
  Real inverse(a.precision());
  mpfr_ui_div(inverse.lo, 1, b.hi, MPFR_RNDD);
  mpfr_ui_div(inverse.hi, 1, b.lo, MPFR_RNDU);
  return inverse.sane() && mul(out, a, inverse);
}

bool sqrt(Real& out, const Real& x) {
  if (mpfr_sgn(x.lo) < 0) return false;
  return rising(out, x, [](mpfr_ptr y, mpfr_srcptr a, mpfr_rnd_t r) { return mpfr_sqrt(y, a, r); });
}

bool exp(Real& out, const Real& x) {
  return below(x, kLargestArgument) && rising(out, x, mpfr_exp);
}
bool log(Real& out, const Real& x) {
  return mpfr_sgn(x.lo) > 0 && rising(out, x, mpfr_log);
}
bool sin(Real& out, const Real& x) {
  return gentle(out, x, mpfr_sin);
}
bool cos(Real& out, const Real& x) {
  return gentle(out, x, mpfr_cos);
}
bool atan(Real& out, const Real& x) {
  return rising(out, x, mpfr_atan);
}

bool asin(Real& out, const Real& x) {
  if (mpfr_cmp_si(x.lo, -1) < 0 || mpfr_cmp_si(x.hi, 1) > 0) return false;
  return rising(out, x, mpfr_asin);
}

bool acos(Real& out, const Real& x) {
  if (mpfr_cmp_si(x.lo, -1) < 0 || mpfr_cmp_si(x.hi, 1) > 0) return false;
  Real y(x.precision());
  mpfr_acos(y.lo, x.hi, MPFR_RNDD);
  mpfr_acos(y.hi, x.lo, MPFR_RNDU);
  out = y;
  return out.sane();
}

bool gamma(Real& out, const Real& x) {
  if (!below(x, 14)) return false;
  if (!x.is_point() && mpfr_cmp_ui(x.lo, 2) < 0) return false;  // not rising
  return rising(out, x, [](mpfr_ptr y, mpfr_srcptr a, mpfr_rnd_t r) { return mpfr_gamma(y, a, r); });
}

void pi(Real& out) {
  mpfr_const_pi(out.lo, MPFR_RNDD);
  mpfr_const_pi(out.hi, MPFR_RNDU);
}

}  // namespace deepsearch::math
