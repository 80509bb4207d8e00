// Successive halving (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
// AISTATS 2016): all points run up to a rung, the best share of them goes on to the next.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "sweep/sweep.h"

namespace deepsearch {

// Which of the points go on: the best ⌈keep · n⌉ by score, at least one; equal scores by index. A NaN, a point without
// a score, never goes on. Indices ascending.
std::vector<size_t> survivors(const std::vector<double>& scores, double keep);

}  // namespace deepsearch
