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

bool beyond(double log_ratio) {
  return std::abs(log_ratio) > kMaxLogRatio;
}

double bounded_exp(double log_ratio) {
  return std::exp(std::clamp(log_ratio, -kMaxLogRatio, kMaxLogRatio));
}

TokenLoss clipped_loss(double log_ratio, double advantage, const PolicyLossOptions& options) {
  const double ratio = bounded_exp(log_ratio);
  const double plain = -advantage * ratio;
  const double clipped = -advantage * std::clamp(ratio, 1 - options.clip_low, 1 + options.clip_high);
  TokenLoss result;
  result.clipped = clipped > plain;
  result.loss = std::max(plain, clipped);
  // Inside the clip range both terms are the same function; outside it the clipped one is flat.
  result.slope = result.clipped || beyond(log_ratio) ? 0 : plain;
  const double bound = -advantage * options.dual_clip;
  if (options.dual_clip > 0 && advantage < 0 && result.loss > bound) {
    result.dual_clipped = true;
    result.loss = bound;
    result.slope = 0;
  }
  return result;
}

double importance(double log_weight, const PolicyLossOptions& options) {
  if (options.importance == ImportanceKind::kNone) return 1;
  const double weight = bounded_exp(log_weight);
  if (options.importance == ImportanceKind::kTruncate) return std::min(weight, options.importance_cap);
  return weight < 1 / options.importance_cap || weight > options.importance_cap ? 0 : weight;
}

struct Kl {
  double value = 0;
  double slope = 0;  // by logp_new
};

Kl kl_of(double d, KlKind kind) {
  switch (kind) {
    case KlKind::kK1:
      return {.value = d, .slope = 1};
    case KlKind::kK2:
      return {.value = d * d / 2, .slope = d};
    case KlKind::kK3:
      break;
  }
  const double held = std::clamp(d, -kMaxLogRatio, kMaxLogRatio);
  return {.value = std::expm1(-held) + held, .slope = beyond(d) ? 0 : -std::expm1(-held)};
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

void check_sizes(const PolicyLossInput& input, const PolicyLossOptions& options, size_t size) {
  const auto fits = [&](size_t n, bool needed) { return n == size || (n == 0 && !needed); };
  const bool weighted = options.importance != ImportanceKind::kNone;
  if (!fits(input.logp_new.size(), true) || !fits(input.logp_old.size(), true) ||
      !fits(input.advantages.size(), true) || !fits(input.mask.size(), true) ||
      !fits(input.logp_recomputed.size(), weighted) || !fits(input.logp_reference.size(), options.kl_coef != 0) ||
      !fits(input.entropies.size(), options.entropy_coef != 0)) {
    failure("policy loss: {} x {} values expected", input.rows, input.columns);
  }
}

}  // namespace

PolicyLoss policy_loss(const PolicyLossInput& input, const PolicyLossOptions& options) {
  const auto size = static_cast<size_t>(input.rows * input.columns);
  check_sizes(input, options, size);
  const std::vector<double> weights = token_weights(input, options.aggregation);
  PolicyLoss result;
  result.grad_logp_new.assign(size, 0);
  result.grad_entropies.assign(size, 0);
  double count = 0;
  for (size_t i = 0; i < size; ++i) {
    if (input.mask[i] == 0) continue;
    const double behaviour = input.logp_recomputed.empty() ? input.logp_old[i] : input.logp_recomputed[i];
    const double log_ratio = input.logp_new[i] - behaviour;
    TokenLoss token = clipped_loss(log_ratio, input.advantages[i], options);
    const double w = importance(behaviour - input.logp_old[i], options);
    token.loss *= w;
    token.slope *= w;
    if (options.kl_coef != 0) {
      const Kl kl = kl_of(input.logp_new[i] - input.logp_reference[i], options.kl);
      token.loss += options.kl_coef * kl.value;
      token.slope += options.kl_coef * kl.slope;
      result.kl += kl.value;
    }
    if (options.entropy_coef != 0) {
      token.loss -= options.entropy_coef * input.entropies[i];
      result.grad_entropies[i] = -options.entropy_coef * weights[i];
    }
    count += 1;
    result.loss += weights[i] * token.loss;
    result.grad_logp_new[i] = weights[i] * token.slope;
    result.clip_fraction += token.clipped ? 1 : 0;
    result.dual_clip_fraction += token.dual_clipped ? 1 : 0;
    result.approx_kl -= log_ratio;
  }
  result.kl /= count + kCountEpsilon;
  result.clip_fraction /= count + kCountEpsilon;
  result.dual_clip_fraction /= count + kCountEpsilon;
  result.approx_kl /= count + kCountEpsilon;
  return result;
}

}  // namespace deepsearch
