#include "learn/loss.h"

#include <ATen/ATen.h>

namespace deepsearch {

TokenLoss clipped_policy_loss(const at::Tensor& logprobs, const at::Tensor& behaviour, const at::Tensor& advantages,
                              const LearnParams& params) {
  TokenLoss result;
  const at::Tensor log_ratio = logprobs - behaviour;
  const at::Tensor ratio = log_ratio.clamp(-20.0, 20.0).exp();  // the exponent is held, as in the reference
  const at::Tensor plain = -advantages * ratio;
  const at::Tensor bounded = -advantages * ratio.clamp(1 - params.clip_low, 1 + params.clip_high);
  at::Tensor loss = at::maximum(plain, bounded);
  result.clipped = bounded.gt(plain).detach();
  if (params.dual_clip > 0) {
    const at::Tensor bound = -advantages * params.dual_clip;
    const at::Tensor negative = advantages.lt(0);
    result.dual_clipped = negative.logical_and(loss.gt(bound)).detach();
    loss = at::where(negative, at::minimum(loss, bound), loss);
  } else {
    result.dual_clipped = at::zeros_like(result.clipped);
  }
  result.loss = loss;
  result.log_ratio = log_ratio.detach();
  return result;
}

at::Tensor kl_k3(const at::Tensor& logprobs, const at::Tensor& reference) {
  const at::Tensor d = reference - logprobs;
  return d.exp() - d - 1;
}

}  // namespace deepsearch
