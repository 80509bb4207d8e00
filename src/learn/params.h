// Everything of [learn] and [sft]: algorithm.md section 3, paper defaults, and the keys beyond the paper.
#pragma once

#include <cstdint>
#include <string>

#include "core/config_visitor.h"

namespace deepsearch {

enum class LossAggregation { kTokenMean, kSequenceMeanTokenSum, kSequenceMeanTokenMean };
enum class Behaviour { kEngine, kRecomputed };
enum class Schedule { kConstant, kCosine };

struct OptimizerParams {
  double lr = 1e-6;
  int64_t warmup_steps = 10;  // optimiser updates with a linearly rising rate
  Schedule schedule = Schedule::kConstant;
  double weight_decay = 0.1;  // matrices only; norms are not decayed
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double max_grad_norm = 1.0;  // over all ranks; 0: no clipping

  void describe(ConfigVisitor& v);
};

struct LearnParams {
  int64_t steps = 50;
  int64_t problems = 256;           // per step
  int64_t minibatch_problems = 32;  // per optimiser update
  int64_t epochs = 1;               // passes over a step's batch
  int64_t tokens_per_microbatch = 16384;
  int64_t refill_waves = 0;  // with skip_uniform: more waves of problems until the batch is full
  double clip_low = 0.2;
  double clip_high = 0.28;
  double dual_clip = 10.0;  // 0: off
  LossAggregation loss_aggregation = LossAggregation::kTokenMean;
  Behaviour behaviour = Behaviour::kEngine;
  double kl_coef = 0.0;
  double entropy_coef = 0.0;
  int64_t checkpoint_every = 0;  // steps; 0: at the end only
  // Of the distribution that was sampled from and is trained: [search].temperature, filled in by whoever makes the
  // trainer. No key of its own.
  double temperature = 1.0;
  int64_t threads = 0;  // CPU threads of a learner; 0: all cores of the host, shared by its learners
  OptimizerParams optimizer;

  void describe(ConfigVisitor& v);
};

// [sft]: the supervised warm start on generated demonstrations.
struct SftParams {
  int64_t steps = 1000;
  int64_t batch = 128;  // demonstrations per update
  double seconds = 0;   // stop after this long even if steps remain; 0: no limit
  int64_t stages = 1;   // more than 1: the task's sizes join in order, after an equal share of the steps each
  OptimizerParams optimizer = {.lr = 2e-3, .warmup_steps = 20, .schedule = Schedule::kCosine, .weight_decay = 0.01};

  void describe(ConfigVisitor& v);
};

}  // namespace deepsearch
