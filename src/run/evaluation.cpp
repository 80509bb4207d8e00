#include "run/evaluation.h"

#include <algorithm>

namespace deepsearch {

double pass_at_k(int64_t n, int64_t correct, int64_t k) {
  if (n - correct < k) return 1.0;
  double all_wrong = 1.0;
  for (int64_t i = n - correct + 1; i <= n; ++i) all_wrong *= 1.0 - static_cast<double>(k) / static_cast<double>(i);
  return 1.0 - all_wrong;
}

Evaluation evaluate(const std::vector<TreeRecord>& groups, int64_t k) {
  Evaluation result;
  double tokens = 0;
  double samples = 0;
  for (const TreeRecord& group : groups) {
    const auto n = static_cast<int64_t>(group.recorded.size());
    if (n == 0) continue;
    int64_t correct = 0;
    for (const RecordedLeaf& leaf : group.recorded) {
      correct += leaf.outcome == Outcome::kCorrect ? 1 : 0;
      result.truncated_fraction += leaf.outcome == Outcome::kIncomplete ? 1 : 0;
      result.reward_mean += leaf.reward;
      result.entropy_mean += leaf.entropy;
      for (int32_t node = leaf.leaf; node > 0; node = group.nodes[static_cast<size_t>(node)].parent) {
        tokens += group.nodes[static_cast<size_t>(node)].n_tokens;
      }
    }
    samples += static_cast<double>(n);
    ++result.problems;
    result.samples = n;
    result.k = std::min(n, k);
    result.pass_at_1 += static_cast<double>(correct) / static_cast<double>(n);
    result.pass_at_k += pass_at_k(n, correct, result.k);
  }
  if (result.problems == 0) return result;
  const auto problems = static_cast<double>(result.problems);
  result.pass_at_1 /= problems;
  result.pass_at_k /= problems;
  result.reward_mean /= samples;
  result.truncated_fraction /= samples;
  result.entropy_mean /= samples;
  result.response_tokens_mean = tokens / samples;
  return result;
}

}  // namespace deepsearch
