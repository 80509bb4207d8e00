// The policy-gradient loss of algorithm.md section 3 and its alternatives, term by term, in ATen with autograd (any
// device, fp32 or fp64). search/policy_loss.h is the plain double version it is tested against. A term is one response
// token of one or more rows (packing.h).
#pragma once

#include <ATen/core/Tensor.h>

#include "learn/params.h"

namespace deepsearch {

// All [terms], nats.
struct LossInputs {
  at::Tensor logprobs;    // log π_θ, carries the gradient
  at::Tensor entropies;   // of π_θ at the term's output; carries a gradient when entropy_coef is not 0
  at::Tensor engine;      // log-probs the sampler reported
  at::Tensor recomputed;  // log π of the learner before its first update on the batch; undefined: not computed
  at::Tensor reference;   // log π of the reference policy; undefined when kl_coef is 0
  at::Tensor advantages;
};

struct TermLoss {
  at::Tensor loss;  // [terms], carries the gradient: policy part + kl_coef·KL − entropy_coef·H
  // Detached, [terms]:
  at::Tensor policy;        // the policy part alone
  at::Tensor kl;            // estimate of KL(π_θ ‖ π_ref); undefined without a reference
  at::Tensor clipped_low;   // bool: Â < 0, and the bound 1 − clip_low decided the loss
  at::Tensor clipped_high;  // bool: Â > 0, and the bound 1 + clip_high decided
  at::Tensor dual_clipped;  // bool
  at::Tensor log_ratio;     // log π_θ − log π_behaviour
  at::Tensor importance;    // weight w; undefined when params.importance is none
};

// Per term, with π_behaviour the recomputed one where it is given, else the engine's:
//   w · ( −min(ρÂ, clip(ρ, 1−clip_low, 1+clip_high)·Â), for Â < 0 at most −dual_clip·Â ) + kl_coef·KL − entropy_coef·H
TermLoss term_losses(const LossInputs& inputs, const LearnParams& params);

// --- Until the trainer takes the above.
struct TokenLoss {
  at::Tensor loss, clipped, dual_clipped, log_ratio;
};
TokenLoss clipped_policy_loss(const at::Tensor& logprobs, const at::Tensor& behaviour, const at::Tensor& advantages,
                              const LearnParams& params);
at::Tensor kl_k3(const at::Tensor& logprobs, const at::Tensor& reference);

}  // namespace deepsearch
