// What a training step was like: sums over this rank's response tokens on the way, means over all ranks at the end.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "comm/collectives.h"
#include "learn/micro_batch.h"
#include "learn/policy_gradient.h"

namespace deepsearch {

// Means over the response tokens of a step's batch (once per epoch), all ranks, unless said otherwise.
struct TrainStats {
  int64_t trained_tokens = 0;   // response tokens, as often as trajectories pass through them
  int64_t row_tokens = 0;       // prompts included: one row a trajectory, without padding
  int64_t computed_tokens = 0;  // by the network
  int64_t updates = 0;
  int64_t skipped_updates = 0;  // loss or gradient not finite
  double loss = 0;              // mean over updates, its parts too
  double policy_loss = 0;
  double policy_entropy = 0;
  double grad_norm = 0;  // mean over updates, before clipping
  double lr = 0;         // of the last update
  double clip_fraction = 0;
  double clip_low_fraction = 0;
  double clip_high_fraction = 0;
  double dual_clip_fraction = 0;
  double approx_kl = 0;     // to the behaviour policy: mean of log π_behaviour − log π_θ
  double reference_kl = 0;  // to the reference policy; 0 without one
  double ratio_mean = 0;
  double ratio_std = 0;
  double ratio_min = 0;
  double ratio_max = 0;
  double importance_mean = 0;  // weight of recomputed against the engine's log-probs; 1 without
  // Between sampler and learner before the step's first update: what two numeric paths, and older versions, cost.
  double mismatch_kl = 0;    // k3
  double mismatch_mean = 0;  // |Δ log-prob|, nats
  double mismatch_max = 0;
  double staleness_mean = 0;  // versions by which the trained policy is ahead of a token's
  double staleness_max = 0;
  double advantage_mean = 0;
  double advantage_std = 0;
  double positive_fraction = 0;  // tokens with a positive advantage
  double flops = 0;              // forward and backward, recomputation aside; sum over ranks
  double peak_flops = 0;         // a second, of all ranks' devices together; 0: not known
  double seconds_sync = 0;       // this rank's wait for gradients and weights of the others
};

class StatsSums {
 public:
  // `divisor`: the minibatch's denominator. `first_update`: the policy is still the one that the step began with.
  void add(const MicroBatch& batch, const ChunkTerms& chunk, double divisor, bool first_update);
  // Of a micro-batch; `version` is the policy version that is trained.
  void add(const MicroBatch& batch, int64_t version, double flops);
  // Collective. Means over all ranks into `stats`, whose updates are counted already.
  void finish(Collectives& collectives, TrainStats& stats) const;

 private:
  // Sums over tokens.
  enum Sum : uint8_t {
    kTokens,
    kLoss,  // weighted and divided as the loss is
    kPolicyLoss,
    kEntropy,
    kLow,
    kHigh,
    kDual,
    kLogRatio,
    kRatio,
    kRatioSquare,
    kReferenceKl,
    kImportance,
    kAdvantage,
    kAdvantageSquare,
    kPositive,
    kMismatchTokens,
    kMismatchKl,
    kMismatch,
    kStaleness,
    kRowTokens,
    kComputedTokens,
    kFlops,
    kSums
  };
  std::array<double, kSums> sums_{};
  double ratio_max_ = 0;
  double ratio_min_ = std::numeric_limits<double>::infinity();
  double mismatch_max_ = 0;
  double staleness_max_ = 0;
};

}  // namespace deepsearch
