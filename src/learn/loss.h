// The policy-gradient loss of algorithm.md section 3, token by token, in ATen with autograd. search/policy_loss.h is
// the plain double version it is tested against.
#pragma once

#include <ATen/core/Tensor.h>

#include "learn/params.h"

namespace deepsearch {

struct TokenLoss {
  at::Tensor loss;          // [tokens], carries the gradient
  at::Tensor clipped;       // [tokens] bool: the clipped term is the larger loss
  at::Tensor dual_clipped;  // [tokens] bool
  at::Tensor log_ratio;     // [tokens], log π_θ − log π_behaviour, detached
};

// −min(ρÂ, clip(ρ, 1−clip_low, 1+clip_high)·Â); for Â < 0 at most −dual_clip·Â. All inputs [tokens].
TokenLoss clipped_policy_loss(const at::Tensor& logprobs, const at::Tensor& behaviour, const at::Tensor& advantages,
                              const LearnParams& params);

// k3 estimate of KL(π_θ ‖ π_ref) per token (Schulman 2020): exp(d) − d − 1 with d = log π_ref − log π_θ. [tokens]
at::Tensor kl_k3(const at::Tensor& logprobs, const at::Tensor& reference);

}  // namespace deepsearch
