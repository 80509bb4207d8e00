// Supervised fine-tuning on given demonstrations: cross-entropy of the responses' tokens, in epochs, with validation.
// The warm start on a task's generated demonstrations is warm_start.h.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "comm/collectives.h"
#include "core/timer.h"
#include "learn/params.h"
#include "model/weights.h"

namespace deepsearch {

struct Demonstration {
  std::vector<Token> tokens;  // prompt, then response with its end-of-sequence token
  int64_t n_prompt = 0;       // at least 1, and less than all
};

struct SftProgress {
  int64_t update = 0;  // done; 0: before the first
  int64_t updates = 0;
  int64_t epoch = 0;                      // of the last update, from 1
  double loss = 0;                        // of the last update, nats per response token
  double mean_loss = 0;                   // running mean of the last hundred or so
  std::optional<double> validation_loss;  // when it was measured after this update
};

// What supervised training came to.
struct SupervisedModel {
  ModelWeights weights;
  int stop_signal = 0;  // the stop flag's (core/signals.h) that cut it short, the same on all ranks; 0: none did
};

// Decides for all ranks together whether training is cut short: at `seconds` (0: never), or by the stop flag of any.
class CutShort {
 public:
  CutShort(Collectives& collectives, double seconds) : collectives_(collectives), seconds_(seconds) {}
  // Before or after an update. Collective; the same on all ranks.
  bool now();
  int stop_signal() const { return stop_signal_; }

 private:
  Collectives& collectives_;
  double seconds_;
  Stopwatch watch_;
  int stop_signal_ = 0;
};

// [learn] for supervised updates: what changes memory and time (packing, compute, threads, …) is kept, the loss is the
// mean over tokens, the optimiser [sft.optimizer].
LearnParams supervised_params(const LearnParams& learn, const SftParams& params);

// Updates that `params` makes of so many demonstrations: each epoch's last batch may be smaller.
int64_t sft_updates(int64_t demonstrations, const SftParams& params);

// Trains on `data` in the order of (seed, epoch) and measures the mean cross-entropy per response token of `validation`
// (may be empty) before, every params.validate_every updates, and at the end. Every rank holds all rows; the result
// does not depend on their number but for the order of sums. Stops early as CutShort says. `report` is called on every
// rank after every update, and once before the first. Collective over the learner ranks. failure() where the loss is
// not finite.
SupervisedModel fine_tune(const ModelWeights& start, const std::vector<Demonstration>& data,
                          const std::vector<Demonstration>& validation, const SftParams& params,
                          const LearnParams& learn, uint64_t seed, Collectives& collectives,
                          const std::function<void(const SftProgress&)>& report);

}  // namespace deepsearch
