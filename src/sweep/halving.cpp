#include "sweep/halving.h"

#include <algorithm>

namespace deepsearch {

std::vector<size_t> survivors(const std::vector<double>& scores, double keep) {
  std::vector<size_t> order;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!std::isnan(scores[i])) order.push_back(i);
  }
  // Of all points, those that failed included: a rung costs what it was planned to cost.
  const auto wanted = static_cast<size_t>(std::max(1.0, std::ceil(keep * static_cast<double>(scores.size()) - 1e-9)));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  order.resize(std::min(order.size(), wanted));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace deepsearch
