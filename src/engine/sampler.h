// From logits to tokens. Pure: a token is a function of (logits, draw); the caller draws u by counter (core/rng.h), so
// nothing depends on what else is in the batch, on threads or on the CPU's type.
//
// What a draw chooses among: all tokens at its temperature; of these the top_k most probable; of these the fewest most
// probable whose share of what top_k left reaches top_p. Of equally probable tokens the first counts as the more
// probable. u picks among the rest in token order, in proportion.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/native/kernels.h"
#include "engine/pass.h"

namespace deepsearch {

// Owned by one thread (scratch inside).
class Sampler {
 public:
  explicit Sampler(const native::Kernels& kernels = native::best_kernels()) : kernels_(&kernels) {}

  // For vocabularies of up to n tokens, draw() then allocates nothing. (It also grows by itself.)
  void make_room(size_t n);

  // Draws that share one row of logits, at least one of them; out: one for each. Log-probabilities and entropies are
  // those of the full softmax, within 1e-6 of exact arithmetic on these logits (but for the rounding of the result to
  // fp32). False, and `out` undefined, when a logit is not finite.
  [[nodiscard]] bool draw(std::span<const float> logits, std::span<const Draw> draws, SampledToken* out);

 private:
  // A softmax over all logits, by e^((l − largest) · scale).
  struct Softmax {
    float scale = 0;  // 1 / temperature; 0: not computed
    double total = 0;
    double log_total = 0;
    double entropy = 0;
    std::vector<double> chunks;  // sums over native::kSumChunk tokens each
  };
  // Where the kept candidates end: in the order of bucket `bucket`, after `kept` of them; their sum.
  struct Border {
    uint32_t bucket = ~0U;
    size_t kept = 0;
    double sum = 0;
  };

  bool compute(float scale, Softmax& softmax);
  double logprob(const Softmax& softmax, Token token) const;
  Token pick(const Softmax& softmax, const Draw& draw);
  Token pick_any(const Softmax& softmax, double u);
  Token pick_kept(double u) const;
  void find_candidates(const Softmax& softmax, const Draw& draw);
  float top_k_bound(int64_t k);
  void keep_most_probable(const Softmax& softmax, const Draw& draw);
  Border border_of(size_t most, double share);

  const native::Kernels* kernels_;
  std::span<const float> logits_;
  float largest_ = 0;
  Softmax raw_;
  Softmax tempered_;
  std::vector<float> numerators_;     // of a chunk, or of the candidates
  std::vector<uint32_t> candidates_;  // tokens that top_k or top_p may keep, ascending
  size_t n_candidates_ = 0;
  std::vector<float> group_most_;  // largest logit of each kGroup tokens
  std::vector<float> gathered_;    // the candidates' logits
  std::vector<uint32_t> order_;    // of the candidates at the border
  std::vector<double> bucket_sums_;
  std::vector<uint32_t> bucket_counts_;
};

}  // namespace deepsearch
