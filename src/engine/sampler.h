// From logits to a token. Pure: the token is a function of (logits, temperature, top-p, u); the caller draws u by
// counter (core/rng.h), so nothing depends on what else is in the batch.
//
// The log-probability and the entropy are those of the full softmax at temperature 1 and top-p 1, whatever the token
// was sampled with: the policy's own, which is what learning needs (algorithm.md section 1, `entropy = "exact"`).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/tokens.h"

namespace deepsearch {

struct SampledToken {
  Token token = 0;
  float logprob = 0;  // nats
  float entropy = 0;  // nats
};

class Sampler {
 public:
  // logits: any number ≥ 1 of them, finite (failure() otherwise). temperature ≤ 0 takes the largest logit (the first of
  // equals). top_p < 1 keeps the fewest most probable tokens (at that temperature; of equals the first) whose
  // probabilities reach top_p. u in [0, 1) picks among them in token order. Owned by one thread (scratch inside).
  SampledToken sample(std::span<const float> logits, double temperature, double top_p, double u);

 private:
  size_t pick(double temperature, double top_p, double u);
  double keep_nucleus(double top_p);

  std::vector<float> logits_;    // padded copy
  std::vector<float> weights_;   // exp(logit − largest), then at the sampling temperature
  std::vector<uint32_t> order_;  // scratch of top-p
  size_t n_ = 0;
  float largest_ = 0;
};

}  // namespace deepsearch
