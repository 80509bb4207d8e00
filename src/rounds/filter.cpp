#include "rounds/filter.h"

#include <algorithm>

namespace deepsearch {

bool is_hard(int64_t correct, int64_t samples, double max_pass_rate) {
  constexpr double kRounding = 1e-9;  // 0.3·10 is less than 3
  return static_cast<double>(correct) <= max_pass_rate * static_cast<double>(samples) + kRounding;
}

std::vector<int64_t> FilterPass::next_wave(int64_t problems) const {
  const size_t first = correct.size();
  const size_t last = std::min(candidates.size(), first + static_cast<size_t>(problems));
  return {candidates.begin() + static_cast<std::ptrdiff_t>(first),
          candidates.begin() + static_cast<std::ptrdiff_t>(last)};
}

std::vector<int64_t> FilterPass::hard(int64_t samples, double max_pass_rate) const {
  std::vector<int64_t> kept;
  for (size_t i = 0; i < correct.size(); ++i) {
    if (is_hard(correct[i], samples, max_pass_rate)) kept.push_back(candidates[i]);
  }
  return kept;
}

std::vector<int64_t> FilterPass::histogram(int64_t samples) const {
  std::vector<int64_t> counts(static_cast<size_t>(samples) + 1, 0);
  for (const int32_t passed : correct) ++counts.at(static_cast<size_t>(passed));
  return counts;
}

double FilterPass::mean_pass_rate(int64_t samples) const {
  int64_t sum = 0;
  for (const int32_t passed : correct) sum += passed;
  const auto all = static_cast<double>(samples) * static_cast<double>(correct.size());
  return all > 0 ? static_cast<double>(sum) / all : 0;
}

}  // namespace deepsearch
