// Tokens to an answer: numbers and formulas, relations, collections, intervals, matrices and words.
#pragma once

#include <string_view>

#include "verify/expression.h"

namespace deepsearch::math {

struct ParseOptions {
  bool plain = false;
  bool group_commas = true;
  bool repair = true;       // \frac12 is \frac{1}{2}
  bool log_ten = false;     // a logarithm without a base is decimal (else natural)
  bool* grouped = nullptr;  // set: some comma may be read either way
};

// Null: not mathematics that we read. Throws Overrun past the arena's limits.
Expr parse(Arena& arena, std::string_view text, const ParseOptions& options);

// Words compare by this: letters and digits, lower case, single spaces.
std::string plain_words(std::string_view text);

}  // namespace deepsearch::math
