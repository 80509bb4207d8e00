// Trainer: the learner's side of a step. Holds the network, its optimiser and, with kl_coef, the starting policy.
//
// Every learner rank is given the same rows in the same order. Each minibatch is cut into micro-batches the same way on
// all ranks (packing.h); a rank computes its share of them, and gradients are summed over ranks while the last one's
// backward pass still runs (optimizer.h).
// All calls but weights() and logprobs() are collective over the learner ranks. One thread (LibTorch uses its own
// pool).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "comm/collectives.h"
#include "learn/optimizer_state.h"
#include "learn/params.h"
#include "learn/rows.h"
#include "learn/train_stats.h"
#include "model/weights.h"

namespace deepsearch {

class Trainer {
 public:
  Trainer(const ModelWeights& start, const LearnParams& params, Collectives& collectives, int64_t planned_updates);
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // One step on a batch: minibatches[m] are the rows of the m-th optimiser update, repeated `epochs` times; those
  // without a token that counts make no update. `between` is called after every micro-batch (heartbeats).
  // `version`: the policy version that is trained, which ages of tokens are counted from.
  // An update whose loss or gradient is not finite on some rank is skipped on all, and the trees at fault are named in
  // the log; failure() after [learn].max_bad_steps of them in a row.
  TrainStats train(const std::vector<std::vector<Row>>& minibatches, const std::function<void()>& between,
                   int64_t version = 0);

  // Before a step, on all ranks alike: see AdamW::set_progress.
  void set_progress(double progress);

  // One supervised update: mean cross-entropy of the rows' response tokens. Returns the loss before the update.
  double supervise(const std::vector<Row>& rows);

  // Sum of log-probs of the rows' response tokens and their number, under the current policy, over all ranks, which
  // share the work: what a validation loss is made of.
  struct LogLikelihood {
    double sum = 0;
    int64_t tokens = 0;
  };
  LogLikelihood log_likelihood(const std::vector<Row>& rows);

  // Log-probs of the response tokens under the current policy. Not collective.
  std::vector<std::vector<float>> logprobs(const std::vector<Row>& rows);

  ModelWeights weights() const;  // host copy

  // Hands memory that is kept for the next step (a GPU's) back to the device: something else runs before that.
  void give_back_memory();

  // To go on later: this rank's part of the optimiser (layout: without values), and with it the parameters.
  OptimizerState optimizer_state() const;
  OptimizerState optimizer_layout() const;
  void restore(const OptimizerState& state);  // collective; errors as AdamW::restore

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepsearch
