// Supervised warm start: makes the base policy from a task's generated demonstrations.
#pragma once

#include <cstdint>
#include <functional>

#include "comm/collectives.h"
#include "data/task.h"
#include "learn/params.h"
#include "learn/sft.h"
#include "model/weights.h"

namespace deepsearch {

struct WarmStartProgress {
  int64_t step = 0;  // updates done
  double loss = 0;   // running mean of the cross-entropy, nats per token
};

// Demonstration i of update s is the task's (s·batch + i)-th, so the result is a function of (start, task, params)
// unless params.seconds cuts it short. `learn` as supervised_params (sft.h) uses it. With stages > 1 the task's sizes
// join in order. Stops early as CutShort (sft.h) says. Collective over the learner ranks.
SupervisedModel warm_start(const ModelWeights& start, const TaskParams& task, const SftParams& params,
                           const LearnParams& learn, Collectives& collectives,
                           const std::function<void(const WarmStartProgress&)>& report);

}  // namespace deepsearch
