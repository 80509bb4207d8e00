// Everything of [learn] and [sft]: algorithm.md section 3, paper defaults, and the keys beyond the paper.
#pragma once

#include <cstdint>
#include <string>

#include "core/config_visitor.h"

namespace deepsearch {

struct CreditParams;

enum class LossAggregation { kTokenMean, kSequenceMeanTokenSum, kSequenceMeanTokenMean, kSequenceMeanTokenSumNorm };
enum class Behaviour { kEngine, kRecomputed };
enum class StaleTrees { kFinish, kDrop };
enum class Schedule { kConstant, kCosine };
enum class Budget { kSteps, kTrainedTokens, kGeneratedTokens, kCost, kDeviceSeconds };
enum class Packing { kNone, kTree };
enum class Compute { kFp32, kBf16 };
enum class KlEstimator { kK1, kK2, kK3 };  // Schulman 2020
enum class Importance { kNone, kTruncate, kMask };

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
  Budget budget = Budget::kSteps;   // run/spending.h
  double budget_amount = 0;         // 0: `steps` alone decide
  int64_t problems = 256;           // per step
  int64_t minibatch_problems = 32;  // per optimiser update
  int64_t epochs = 1;               // passes over a step's batch
  int64_t tokens_per_microbatch = 16384;
  Packing packing = Packing::kTree;
  Compute compute = Compute::kFp32;     // of forward and backward; master weights and moments are fp32
  bool checkpoint_activations = false;  // keep each layer's input only and compute the layer again in backward
  bool shard_optimizer = true;          // ZeRO-1: each learner rank keeps and updates its share of the parameters
  double bucket_mb = 25;                // gradients that are summed over ranks together, at most
  int64_t max_bad_steps = 10;           // skipped updates in a row that end the run; 0: never
  int64_t max_staleness = 0;            // versions search may be ahead of the learner (schedule/run_ahead.h)
  StaleTrees stale_trees = StaleTrees::kFinish;
  int64_t refill_waves = 0;  // with skip_uniform: more waves of problems until the batch is full
  double clip_low = 0.2;
  double clip_high = 0.28;
  double dual_clip = 10.0;  // 0: off
  LossAggregation loss_aggregation = LossAggregation::kTokenMean;
  Behaviour behaviour = Behaviour::kEngine;
  // With recomputed log-probs: what a token's loss is multiplied by for having been sampled by another policy version
  // or in other arithmetic, w = π_recomputed/π_engine: min(w, cap), or w where 1/cap ≤ w ≤ cap and else 0.
  Importance importance = Importance::kNone;
  double importance_cap = 2.0;
  int64_t max_token_age = 0;  // tokens of policy versions older than this are not trained on; 0: all are
  double kl_coef = 0.0;
  KlEstimator kl_estimator = KlEstimator::kK3;
  double entropy_coef = 0.0;
  int64_t checkpoint_every = 0;  // steps; 0: at the end only
  // Of the distribution that was sampled from and is trained: [search].temperature, filled in by whoever makes the
  // trainer. No key of its own.
  double temperature = 1.0;
  // [learn].response_budget as CreditParams resolves it, for seq_mean_token_sum_norm: filled in likewise, no key.
  int64_t response_budget = 0;
  int64_t threads = 0;  // CPU threads of a learner; 0: all cores of the host, shared by its learners
  OptimizerParams optimizer;

  void describe(ConfigVisitor& v);
};

// Throws bad_input for keys of [learn] that contradict each other or have no effect beside the others.
void check(const LearnParams& learn, const CreditParams& credit);

enum class TooLong { kLeaveOut, kCut };

// [sft]: supervised training, on generated demonstrations or on a file's.
struct SftParams {
  int64_t steps = 1000;  // generated demonstrations only
  int64_t batch = 128;   // demonstrations per update
  double seconds = 0;    // stop after this long even if updates remain; 0: no limit
  int64_t stages = 1;    // more than 1: the task's sizes join in order, after an equal share of the steps each
  // A file's demonstrations only:
  int64_t epochs = 1;
  int64_t validate_every = 100;  // updates; 0: before the first and after the last only
  int64_t max_tokens = 0;        // of a demonstration; 0: the model's context
  TooLong too_long = TooLong::kLeaveOut;
  OptimizerParams optimizer = {.lr = 2e-3, .warmup_steps = 20, .schedule = Schedule::kCosine, .weight_decay = 0.01};

  void describe(ConfigVisitor& v);
};

}  // namespace deepsearch
