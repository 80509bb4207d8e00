// Searches in a text that count the characters they pass, so that the work on one text has a bound whatever stands in
// it: once the budget is spent nothing more is found.
#pragma once

#include <cstdint>
#include <string_view>

#include "verify/characters.h"

namespace deepsearch::math {

class Scan {
 public:
  // A whole text is gone through about a dozen times; twice that with <think>.
  static constexpr int64_t kBudget = int64_t{24} << 20;

  // The last `what` that lies within [from, before); kNone: none. `what` is not empty.
  size_t last(std::string_view s, std::string_view what, size_t before, size_t from = 0);
  // The first `what` that lies within [from, before).
  size_t next(std::string_view s, std::string_view what, size_t from, size_t before);
  // The last digit before `before`.
  size_t last_digit(std::string_view s, size_t before);

  // For loops of a caller's own; false: nothing is left.
  bool spend(size_t characters) {
    spent_ += static_cast<int64_t>(characters);
    return spent_ <= kBudget;
  }
  int64_t spent() const { return spent_; }

 private:
  int64_t spent_ = 0;
};

}  // namespace deepsearch::math
