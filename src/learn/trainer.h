// Trainer: the learner's side of a step. Holds the network, its optimiser and, with kl_coef, the starting policy.
//
// Every learner rank is given the same rows in the same order; each computes its share of the micro-batches, and the
// sum of gradients goes through Collectives. The cut into micro-batches does not depend on the number of ranks.
// All calls but weights() are collective over the learner ranks. One thread (LibTorch uses its own pool).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "comm/collectives.h"
#include "learn/params.h"
#include "learn/rows.h"
#include "model/weights.h"

namespace deepsearch {

// Means over the response tokens of a step's batch, all ranks, unless said otherwise.
struct TrainStats {
  int64_t trained_tokens = 0;  // response tokens, once per epoch
  int64_t updates = 0;
  int64_t skipped_updates = 0;  // gradient not finite
  double loss = 0;
  double policy_entropy = 0;
  double grad_norm = 0;  // mean over updates, before clipping
  double lr = 0;         // of the last update
  double clip_fraction = 0;
  double dual_clip_fraction = 0;
  double approx_kl = 0;  // mean of log π_behaviour − log π_θ
  double ratio_max = 0;
  double mismatch_kl = 0;  // k3 between sampler and learner before the first update: what two numeric paths cost
  double advantage_mean = 0;
  double advantage_std = 0;
  double positive_fraction = 0;  // tokens with a positive advantage
};

class Trainer {
 public:
  Trainer(const ModelWeights& start, const LearnParams& params, Collectives& collectives, int64_t planned_updates);
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // One step on a batch: minibatches[m] are the rows of the m-th optimiser update, repeated `epochs` times.
  // `between` is called after every micro-batch (heartbeats).
  TrainStats train(const std::vector<std::vector<Row>>& minibatches, const std::function<void()>& between);

  // One supervised update: mean cross-entropy of the rows' response tokens. Returns the loss before the update.
  double supervise(const std::vector<Row>& rows);

  // Log-probs of the response tokens under the current policy (behaviour = "recomputed", and tests). Not collective.
  std::vector<std::vector<float>> logprobs(const std::vector<Row>& rows);

  ModelWeights weights() const;  // host copy

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepsearch
