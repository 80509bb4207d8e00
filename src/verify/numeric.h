// Values of expressions with proven bounds: complex numbers as rectangles of MPFR intervals, rounded outwards, so that
// a rectangle without zero proves a difference. Symbols take random dyadic values keyed by name and round.
#pragma once

#include "verify/expression.h"

namespace deepsearch::math {

enum class Answer : uint8_t { kNo, kYes, kUnknown };

// Is x zero, as an identity in its symbols? kNo is proven. kYes: at every point tried (one when x has no symbols)
// the value lies within 2^-400 of the size of `scale`, which is what x is a difference of. May throw Overrun.
Answer is_zero(Arena& arena, Expr x, Expr scale);

// Is f a non-zero constant multiple of g, neither being zero?
Answer proportional(Arena& arena, Expr f, Expr g);

// Of a real constant: −1, 0, 1 in `out`; false: not known.
bool sign_of(Arena& arena, Expr x, int& out);

// x rounded to `places` decimals as an integer (x·10^places); false: no finite real number, or too near to a tie.
bool round_to_places(Arena& arena, Expr x, int places, mpz_class& out);
// The number of places that leaves `digits` significant digits.
bool places_for_digits(Arena& arena, Expr x, int digits, int& places);

}  // namespace deepsearch::math
