// Real intervals over MPFR, rounded outwards. A function returns false where the result is not a bounded set of reals.
#pragma once

#include <gmpxx.h>
#include <mpfr.h>
#include <utility>

namespace deepsearch::math {

class Real {
 public:
  explicit Real(mpfr_prec_t precision) {
    mpfr_init2(lo, precision);
    mpfr_init2(hi, precision);
    mpfr_set_zero(lo, 1);
    mpfr_set_zero(hi, 1);
  }
  ~Real() {
    mpfr_clear(lo);
    mpfr_clear(hi);
  }
  Real(const Real& other) : Real(mpfr_get_prec(other.lo)) {
    mpfr_set(lo, other.lo, MPFR_RNDD);
    mpfr_set(hi, other.hi, MPFR_RNDU);
  }
  Real& operator=(const Real& other) {
    if (this != &other) {
      mpfr_set(lo, other.lo, MPFR_RNDD);
      mpfr_set(hi, other.hi, MPFR_RNDU);
    }
    return *this;
  }

  mpfr_prec_t precision() const { return mpfr_get_prec(lo); }
  bool is_zero() const { return mpfr_zero_p(lo) != 0 && mpfr_zero_p(hi) != 0; }
  bool has_zero() const { return mpfr_sgn(lo) <= 0 && mpfr_sgn(hi) >= 0; }
  bool is_point() const { return mpfr_equal_p(lo, hi) != 0; }
  // Both ends are numbers of a size that later steps can take.
  bool sane() const;

  mpfr_t lo;
  mpfr_t hi;
};

void set(Real& out, const mpq_class& q);
bool add(Real& out, const Real& a, const Real& b);
bool sub(Real& out, const Real& a, const Real& b);
bool mul(Real& out, const Real& a, const Real& b);
bool div(Real& out, const Real& a, const Real& b);
void negate(Real& x);
bool sqrt(Real& out, const Real& x);
bool exp(Real& out, const Real& x);
bool log(Real& out, const Real& x);
bool sin(Real& out, const Real& x);
bool cos(Real& out, const Real& x);
bool atan(Real& out, const Real& x);
bool asin(Real& out, const Real& x);
bool acos(Real& out, const Real& x);
bool gamma(Real& out, const Real& x);
void pi(Real& out);

}  // namespace deepsearch::math
