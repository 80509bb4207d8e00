// Subsets of the real line in one normal form: disjoint pieces in order.
#pragma once

#include <vector>

#include "verify/expression.h"

namespace deepsearch::math {

struct Piece {
  Expr low;
  Expr high;
  bool open_low;
  bool open_high;
};
using RealSet = std::vector<Piece>;

// Intervals, finite sets of real constants, unions, intersections with nothing unknown, differences; inequalities of
// one name where `relations`. False: not such a set, or its ends cannot be put in order.
bool to_real_set(Arena& arena, Expr x, bool relations, RealSet& out);

// May stand alone on the left of an assignment: x, x_1, f(x), AB, (p, q), NO/BO.
bool is_name(Expr x);

}  // namespace deepsearch::math
