#include "search/policy_loss.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace deepsearch {

namespace {

constexpr double kCountEpsilon = 1e-8;
constexpr double kMaxLogRatio = 20.0;

struct TokenLoss {
  double loss = 0;
  double slope = 0;  // d loss / d logp_new
  bool clipped = false;
  bool dual_clipped = false;
};

TokenLoss token_loss(double logp_new, double logp_old, double advantage, const PolicyLossOptions& options) {
  const double log_ratio = std::clamp(logp_new - logp_old, -kMaxLogRatio, kMaxLogRatio);
  const double ratio = std::exp(log_ratio);
  const bool at_bound = std::abs(logp_new - logp_old) > kMaxLogRatio;
  const double plain = -advantage * ratio;
  const double clipped = -advantage * std::clamp(ratio, 1 - options.clip_low, 1 + options.clip_high);
  TokenLoss result;
  result.clipped = clipped > plain;
  result.loss = std::max(plain, clipped);
  // Inside the clip range both terms are the same function; outside it the clipped one is flat.
  result.slope = result.clipped || at_bound ? 0 : plain;
  const double bound = -advantage * options.dual_clip;
  if (advantage < 0 && result.loss > bound) {
    result.dual_clipped = true;
    result.loss = bound;
    result.slope = 0;
  }
  return result;
}

// The factor by which each token's loss enters the total.
std::vector<double> token_weights(const PolicyLossInput& input, Aggregation aggregation) {
  const auto rows = static_cast<double>(input.rows);
  double total = 0;
  std::vector<double> row_count(static_cast<size_t>(input.rows), 0);
  for (size_t i = 0; i < input.mask.size(); ++i) {
    if (input.mask[i] == 0) continue;
    total += 1;
    row_count[i / static_cast<size_t>(input.columns)] += 1;
  }
  std::vector<double> weights(input.mask.size(), 0);
  for (size_t i = 0; i < weights.size(); ++i) {
    if (input.mask[i] == 0) continue;
    switch (aggregation) {
      case Aggregation::kTokenMean:
        weights[i] = 1 / (total + kCountEpsilon);
        break;
      case Aggregation::kSeqMeanTokenSum:
        weights[i] = 1 / rows;
        break;
      case Aggregation::kSeqMeanTokenMean:
        weights[i] = 1 / (rows * row_count[i / static_cast<size_t>(input.columns)]);
        break;
      case Aggregation::kSeqMeanTokenSumNorm:
        weights[i] = 1 / static_cast<double>(input.columns);
        break;
    }
  }
  return weights;
}

}  // namespace

PolicyLoss policy_loss(const PolicyLossInput& input, const PolicyLossOptions& options) {
  const auto size = static_cast<size_t>(input.rows * input.columns);
  if (input.logp_new.size() != size || input.logp_old.size() != size || input.advantages.size() != size ||
      input.mask.size() != size) {
    failure("policy loss: {} x {} values expected", input.rows, input.columns);
  }
  const std::vector<double> weights = token_weights(input, options.aggregation);
  PolicyLoss result;
  result.grad_logp_new.assign(size, 0);
  double count = 0;
  for (size_t i = 0; i < size; ++i) {
    if (input.mask[i] == 0) continue;
    const TokenLoss token = token_loss(input.logp_new[i], input.logp_old[i], input.advantages[i], options);
    count += 1;
    result.loss += weights[i] * token.loss;
    result.grad_logp_new[i] = weights[i] * token.slope;
    result.clip_fraction += token.clipped ? 1 : 0;
    result.dual_clip_fraction += token.dual_clipped ? 1 : 0;
    result.approx_kl += input.logp_old[i] - input.logp_new[i];
  }
  result.clip_fraction /= count + kCountEpsilon;
  result.dual_clip_fraction /= count + kCountEpsilon;
  result.approx_kl /= count + kCountEpsilon;
  return result;
}

}  // namespace deepsearch
