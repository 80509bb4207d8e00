// Equality of a reference answer and an answer, by the rules of docs/verifier.md.
#pragma once

#include "verify/expression.h"

namespace deepsearch::math {

struct CompareOptions {
  int places = 6;        // decimals kept where one side is a decimal
  double tolerance = 0;  // relative, where the reference is a decimal; 0: none
  bool strict = true;    // false: variables match by position
  bool set_for_relation_both_ways = false;
  bool ordered = false;   // lists have an order
  bool list = false;      // both sides are lists, whatever brackets are around them
  bool tolerant = false;  // `tolerance` holds for every number of the reference
};

// `gold` is the reference. Both live in `arena`. May throw Overrun.
bool equal(Arena& arena, Expr gold, Expr answer, const CompareOptions& options);

}  // namespace deepsearch::math
