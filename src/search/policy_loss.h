// The clipped policy-gradient loss of algorithm.md section 3 in plain double, with its gradient: the slow clear version
// that the learner's is tested against. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace deepsearch {

enum class KlKind { kK1, kK2, kK3 };  // d, d²/2, e^−d − 1 + d with d = new − reference
enum class ImportanceKind { kNone, kTruncate, kMask };
enum class Aggregation { kTokenMean, kSeqMeanTokenSum, kSeqMeanTokenMean, kSeqMeanTokenSumNorm };

struct PolicyLossOptions {
  double clip_low = 0.2;
  double clip_high = 0.28;
  double dual_clip = 10.0;  // c; 0: none
  Aggregation aggregation = Aggregation::kTokenMean;
  ImportanceKind importance = ImportanceKind::kNone;
  double importance_cap = 2.0;
  double kl_coef = 0;
  KlKind kl = KlKind::kK3;
  double entropy_coef = 0;
};

// Rectangular, row after row: [rows, columns]. `mask` 0 is padding.
struct PolicyLossInput {
  int64_t rows = 0;
  int64_t columns = 0;
  std::span<const double> logp_new;
  std::span<const double> logp_old;
  std::span<const double> advantages;
  std::span<const uint8_t> mask;
  // May be left empty:
  std::span<const double> logp_recomputed = {};  // π_behaviour in place of logp_old; importance weights need both
  std::span<const double> logp_reference = {};   // needed when kl_coef is not 0
  std::span<const double> entropies = {};        // needed when entropy_coef is not 0
};

struct PolicyLoss {
  double loss = 0;
  double clip_fraction = 0;           // tokens whose clipped term is the larger loss
  double dual_clip_fraction = 0;      // tokens of negative advantage bounded by dual_clip
  double approx_kl = 0;               // mean of old − new, nats
  double kl = 0;                      // mean estimate
  std::vector<double> grad_logp_new;  // [rows, columns]
  std::vector<double> grad_entropies;
};

// Per token w·(−min(ρÂ, clip(ρ, 1 − clip_low, 1 + clip_high)·Â), and where Â < 0 at most −c·Â) + kl_coef·KL −
// entropy_coef·H, with ρ = exp(new − behaviour) and w by exp(recomputed − old): at most the cap, or 0 outside
// [1/cap, cap]. Exponents are held within ±20 (as the reference). Means over all tokens divide by (count + 1e-8), those
// over one row by its plain count (both as the reference). Throws failure when sizes disagree.
PolicyLoss policy_loss(const PolicyLossInput& input, const PolicyLossOptions& options);

}  // namespace deepsearch
