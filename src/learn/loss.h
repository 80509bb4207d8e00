// The policy-gradient loss of algorithm.md section 3 and its alternatives, term by term, in ATen with autograd (any
// device, fp32 or fp64). search/policy_loss.h is the plain double version it is tested against. A term is one response
// token of one or more rows (packing.h). Which terms count, and by how much: aggregation.h.
//
// Exponents are held within ±20 (as verl does), so no finite log-prob makes an inf or NaN; beyond, the gradient is 0.
// All functions work on no terms at all. They hold no state: any thread.
//
// Sources. Clipping: Schulman et al. 2017 (PPO, arXiv 1707.06347); clip_low ≠ clip_high: DAPO's Clip-Higher (Yu et al.
// 2025, arXiv 2503.14476); dual clip: Ye et al. 2020 (arXiv 1912.09729). Importance weights: truncate is truncated
// importance sampling (Ionides 2008; between a sampler and a learner of different arithmetic Yao et al. 2025, "Your
// efficient RL framework secretly brings you off-policy RL training"); mask drops what is outside, as IcePop (Ling team
// 2025, arXiv 2510.18855). A masked term stays in the count that the loss is divided by.
//
// KL(π_θ ‖ π_ref) of a sampled token with d = log π_θ − log π_ref (Schulman 2020, "Approximating KL divergence"). As
// values k1 and k3 are unbiased; but these are loss terms: what trains is their gradient, whose mean under π_θ is
//   k1 = d               1·∇log π_θ          0, the mean of a score function: it regularises nothing, it adds noise
//   k2 = d²/2            d·∇log π_θ          ∇KL(π_θ ‖ π_ref), the right one
//   k3 = e^−d − 1 + d    (1 − e^−d)∇log π_θ  ∇KL(π_ref ‖ π_θ), the other direction; where d is small both agree
// verl differentiates the same three ("kl" = k1, "mse" = k2, "low_var_kl" = k3) and bounds k3's value to ±10, which
// loses its gradient where the two policies differ most; here only the exponent is bounded. verl's "k3+" has the value
// of k3 and the gradient of k2. The default is k3, as in GRPO (Shao et al. 2024, arXiv 2402.03300).
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
  at::Tensor policy;        // the policy part alone, w in it
  at::Tensor kl;            // estimate of KL(π_θ ‖ π_ref); undefined without a reference
  at::Tensor clipped_low;   // bool: Â < 0, and the bound 1 − clip_low decided the loss
  at::Tensor clipped_high;  // bool: Â > 0, and the bound 1 + clip_high decided
  at::Tensor dual_clipped;  // bool
  at::Tensor log_ratio;     // log π_θ − log π_behaviour
  at::Tensor importance;    // weight w; undefined when params.importance is none
};

// Per term, with π_behaviour the recomputed one where it is given, else the engine's:
//   w · ( −min(ρÂ, clip(ρ, 1−clip_low, 1+clip_high)·Â), for Â < 0 at most −dual_clip·Â ) + kl_coef·KL − entropy_coef·H
// w carries no gradient. Throws failure when a coefficient or the importance weight lacks what it is computed from.
TermLoss term_losses(const LossInputs& inputs, const LearnParams& params);

}  // namespace deepsearch
