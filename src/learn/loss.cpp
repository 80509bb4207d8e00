#include "learn/loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "core/error.h"

namespace deepsearch {

namespace {

constexpr double kMaxLogRatio = 20.0;

at::Tensor bounded_exp(const at::Tensor& log_ratio) {
  return log_ratio.clamp(-kMaxLogRatio, kMaxLogRatio).exp();
}

// −min(ρÂ, clip(ρ)·Â), for Â < 0 at most −dual_clip·Â; and what decided it.
at::Tensor policy_part(const at::Tensor& log_ratio, const at::Tensor& advantages, const LearnParams& params,
                       TermLoss& result) {
  const at::Tensor ratio = bounded_exp(log_ratio);
  const at::Tensor plain = -advantages * ratio;
  const at::Tensor clipped = -advantages * ratio.clamp(1 - params.clip_low, 1 + params.clip_high);
  at::Tensor loss = at::maximum(plain, clipped);
  const at::Tensor negative = advantages.lt(0);
  const at::Tensor is_clipped = clipped.gt(plain);
  result.clipped_low = is_clipped.logical_and(negative);
  result.clipped_high = is_clipped.logical_and(negative.logical_not());
  result.dual_clipped = at::zeros_like(is_clipped);
  if (params.dual_clip > 0) {
    const at::Tensor bound = -advantages * params.dual_clip;
    result.dual_clipped = negative.logical_and(loss.gt(bound));
    loss = at::where(negative, at::minimum(loss, bound), loss);
  }
  return loss;
}

at::Tensor importance_of(const LossInputs& inputs, const LearnParams& params) {
  if (!inputs.recomputed.defined()) failure("importance weights need recomputed log-probs");
  const at::Tensor weight = bounded_exp(inputs.recomputed - inputs.engine);
  if (params.importance == Importance::kTruncate) return weight.clamp_max(params.importance_cap);
  const at::Tensor kept = weight.le(params.importance_cap).logical_and(weight.ge(1 / params.importance_cap));
  return at::where(kept, weight, at::zeros_like(weight));
}

at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& reference, KlEstimator estimator) {
  switch (estimator) {
    case KlEstimator::kK1:
      return logprobs - reference;
    case KlEstimator::kK2:
      return (logprobs - reference).square() * 0.5;
    case KlEstimator::kK3:
      break;
  }
  const at::Tensor d = (reference - logprobs).clamp(-kMaxLogRatio, kMaxLogRatio);
  return d.expm1() - d;
}

}  // namespace

TermLoss term_losses(const LossInputs& inputs, const LearnParams& params) {
  const at::Tensor& behaviour = inputs.recomputed.defined() ? inputs.recomputed : inputs.engine;
  const at::Tensor log_ratio = inputs.logprobs - behaviour;
  TermLoss result;
  at::Tensor loss = policy_part(log_ratio, inputs.advantages, params, result);
  if (params.importance != Importance::kNone) {
    result.importance = importance_of(inputs, params);
    loss = loss * result.importance;
  }
  result.policy = loss.detach();
  result.log_ratio = log_ratio.detach();
  if (inputs.reference.defined()) {
    const at::Tensor kl = kl_estimate(inputs.logprobs, inputs.reference, params.kl_estimator);
    result.kl = kl.detach();
    if (params.kl_coef != 0) loss = loss + kl * params.kl_coef;
  } else if (params.kl_coef != 0) {
    failure("kl_coef is {} without log-probs of the reference policy", params.kl_coef);
  }
  if (params.entropy_coef != 0) {
    if (!inputs.entropies.defined()) failure("entropy_coef is {} without entropies", params.entropy_coef);
    loss = loss - inputs.entropies * params.entropy_coef;
  }
  result.loss = loss;
  return result;
}

// The two below differ from the above in nothing but their form.
}  // namespace deepsearch
