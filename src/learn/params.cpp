#include "learn/params.h"

#include "core/error.h"
#include "search/credit.h"

namespace deepsearch {

void OptimizerParams::describe(ConfigVisitor& v) {
  v.field({.key = "lr", .unit = "", .meaning = "AdamW learning rate after warm-up", .min = 0, .max = 1}, lr);
  v.field({.key = "warmup_steps",
           .unit = "updates",
           .meaning = "updates over which the rate rises linearly from zero",
           .min = 0},
          warmup_steps);
  v.choice({.key = "schedule",
            .unit = "",
            .meaning = "rate after warm-up: held, or a cosine to a tenth over the planned updates"},
           schedule, {{"constant", Schedule::kConstant}, {"cosine", Schedule::kCosine}});
  v.field(
      {.key = "weight_decay", .unit = "", .meaning = "decoupled weight decay, on matrices only", .min = 0, .max = 10},
      weight_decay);
  v.field({.key = "beta1", .unit = "", .meaning = "AdamW's first-moment decay", .min = 0, .max = 0.999999}, beta1);
  v.field({.key = "beta2", .unit = "", .meaning = "AdamW's second-moment decay", .min = 0, .max = 0.999999}, beta2);
  v.field({.key = "epsilon", .unit = "", .meaning = "AdamW's denominator guard", .min = 1e-20, .max = 1}, epsilon);
  v.field({.key = "max_grad_norm",
           .unit = "",
           .meaning = "gradient norm over all learner ranks is clipped to this; 0: no clipping",
           .min = 0},
          max_grad_norm);
}

void LearnParams::describe(ConfigVisitor& v) {
  v.field({.key = "steps",
           .unit = "steps",
           .meaning = "training steps: one batch of problems and one policy version each",
           .min = 0,
           .max = 1e9},
          steps);
  v.choice({.key = "budget",
            .unit = "",
            .meaning = "what budget_amount counts: steps; tokens trained on; tokens generated (without evaluations); "
                       "cost = generated + 3 x trained tokens; device_seconds = seconds x ranks"},
           budget,
           {{"steps", Budget::kSteps},
            {"trained_tokens", Budget::kTrainedTokens},
            {"generated_tokens", Budget::kGeneratedTokens},
            {"cost", Budget::kCost},
            {"device_seconds", Budget::kDeviceSeconds}});
  v.field({.key = "budget_amount",
           .unit = "of budget",
           .meaning = "the run ends at the first step boundary where so much is spent, and a cosine schedule follows "
                      "the share that is; 0: steps alone end it, which stay the upper bound in any case",
           .min = 0},
          budget_amount);
  v.field({.key = "problems", .unit = "problems", .meaning = "problems a step trains on", .min = 1, .max = 1e6},
          problems);
  v.field({.key = "minibatch_problems",
           .unit = "problems",
           .meaning = "problems an optimiser update uses",
           .min = 1,
           .max = 1e6},
          minibatch_problems);
  v.field({.key = "epochs", .unit = "", .meaning = "passes over a step's batch", .min = 1, .max = 100}, epochs);
  v.field({.key = "tokens_per_microbatch",
           .unit = "tokens",
           .meaning = "tokens in one forward and backward pass; changes memory, not the result",
           .min = 1,
           .max = 1e9},
          tokens_per_microbatch);
  v.choice(
      {.key = "packing",
       .unit = "",
       .meaning = "tree: a prefix that trajectories share is computed once; none: each is a padded row of its own"},
      packing, {{"tree", Packing::kTree}, {"none", Packing::kNone}});
  v.choice({.key = "compute",
            .unit = "",
            .meaning = "arithmetic of forward and backward; master weights and moments are fp32"},
           compute, {{"fp32", Compute::kFp32}, {"bf16", Compute::kBf16}});
  v.field({.key = "checkpoint_activations",
           .unit = "",
           .meaning = "keep only each layer's input and compute the layer again in backward: less memory, more time"},
          checkpoint_activations);
  v.field({.key = "shard_optimizer",
           .unit = "",
           .meaning = "ZeRO-1: each learner rank keeps master weights and moments of its share of the parameters only"},
          shard_optimizer);
  v.field({.key = "bucket_mb",
           .unit = "MB",
           .meaning = "gradients that are summed over learner ranks in one operation, while backward goes on",
           .min = 0.001,
           .max = 4096},
          bucket_mb);
  v.field({.key = "max_bad_steps",
           .unit = "updates",
           .meaning = "the run ends after so many updates in a row whose loss or gradient is not finite; 0: never",
           .min = 0,
           .decides = kNoResult},
          max_bad_steps);
  v.field(
      {.key = "max_staleness",
       .unit = "policy versions",
       .meaning = "0: a step's trees come from one policy version (published behaviour); k: search runs ahead of the "
                  "learner, and a trained token may be up to k versions old",
       .min = 0,
       .max = 64},
      max_staleness);
  v.choice({.key = "stale_trees",
            .unit = "",
            .meaning = "max_staleness > 0: trees that are not finished in the last step that may use them: wait for "
                       "them, or drop them"},
           stale_trees, {{"finish", StaleTrees::kFinish}, {"drop", StaleTrees::kDrop}});
  v.field(
      {.key = "refill_waves",
       .unit = "waves",
       .meaning =
           "with skip_uniform: how many times more problems are drawn in place of uniform ones until the batch is full",
       .min = 0,
       .max = 100},
      refill_waves);
  v.field({.key = "clip_low", .unit = "", .meaning = "the ratio is clipped below at 1 − this", .min = 0, .max = 1},
          clip_low);
  v.field({.key = "clip_high",
           .unit = "",
           .meaning = "the ratio is clipped above at 1 + this (DAPO's Clip-Higher)",
           .min = 0,
           .max = 100},
          clip_high);
  v.field({.key = "dual_clip",
           .unit = "",
           .meaning = "bound c on the loss of a token with a negative advantage, −c·Â; 0: none",
           .min = 0,
           .max = 1e6},
          dual_clip);
  v.choice({.key = "loss_aggregation", .unit = "", .meaning = "how token losses become one number"}, loss_aggregation,
           {{"token_mean", LossAggregation::kTokenMean},
            {"seq_mean_token_sum", LossAggregation::kSequenceMeanTokenSum},
            {"seq_mean_token_mean", LossAggregation::kSequenceMeanTokenMean},
            {"seq_mean_token_sum_norm", LossAggregation::kSequenceMeanTokenSumNorm}});
  v.choice(
      {.key = "behaviour",
       .unit = "",
       .meaning =
           "whose log-probs are π_behaviour: the sampler's, or the learner's before its first update on the batch"},
      behaviour, {{"engine", Behaviour::kEngine}, {"recomputed", Behaviour::kRecomputed}});
  v.choice({.key = "importance",
            .unit = "",
            .meaning =
                "with behaviour = recomputed: weight of a token sampled by an older policy or in other arithmetic, "
                "w = pi_recomputed/pi_engine: none = 1, truncate = min(w, cap), mask = w within [1/cap, cap], else 0"},
           importance, {{"none", Importance::kNone}, {"truncate", Importance::kTruncate}, {"mask", Importance::kMask}});
  v.field({.key = "importance_cap", .unit = "", .meaning = "cap of the importance weight", .min = 1, .max = 1e6},
          importance_cap);
  v.field({.key = "max_token_age",
           .unit = "versions",
           .meaning = "tokens of policy versions older than this are not trained on; 0: all are",
           .min = 0},
          max_token_age);
  v.field({.key = "kl_coef",
           .unit = "",
           .meaning = "weight of the KL penalty to the run's starting policy",
           .min = 0,
           .max = 100},
          kl_coef);
  v.choice(
      {.key = "kl_estimator",
       .unit = "",
       .meaning = "per-token estimate of that KL divergence (Schulman 2020); as a loss k2 has its gradient, k3 that "
                  "of the other direction, k1 none"},
      kl_estimator, {{"k1", KlEstimator::kK1}, {"k2", KlEstimator::kK2}, {"k3", KlEstimator::kK3}});
  v.field({.key = "entropy_coef", .unit = "", .meaning = "weight of the entropy bonus", .min = 0, .max = 100},
          entropy_coef);
  v.field({.key = "checkpoint_every",
           .unit = "steps",
           .meaning = "write a checkpoint every so many steps; 0: at the end only",
           .min = 0,
           .decides = kNoResult},
          checkpoint_every);
  v.field({.key = "threads",
           .unit = "threads",
           .meaning = "CPU threads of a learner; 0: its share of the host's cores",
           .min = 0,
           .max = 1024,
           .decides = kNoResult},
          threads);
  v.table({.key = "optimizer", .meaning = "AdamW of the training steps"},
          [this](ConfigVisitor& sub) { optimizer.describe(sub); });
}

void check(const LearnParams& learn, const CreditParams& credit) {
  check(credit);
  if (learn.importance != Importance::kNone && learn.behaviour != Behaviour::kRecomputed) {
    bad_input("[learn].importance compares recomputed log-probs with the engine's: set behaviour = \"recomputed\"");
  }
  if (learn.dual_clip > 0 && learn.dual_clip <= 1) {
    bad_input("[learn].dual_clip is {}; it bounds ratios above 1, so it must be larger than that, or 0 for none",
              learn.dual_clip);
  }
  if (learn.budget != Budget::kSteps && learn.budget_amount <= 0) {
    bad_input("[learn].budget says what budget_amount counts: give an amount above 0, or leave both out");
  }
  if (learn.refill_waves > 0 && !credit.skip_uniform) {
    bad_input("[learn].refill_waves is {}, but nothing is left out to be filled: set skip_uniform = true, or it to 0",
              learn.refill_waves);
  }
  if (learn.stale_trees == StaleTrees::kDrop && learn.max_staleness == 0) {
    bad_input("[learn].stale_trees = \"drop\" needs max_staleness of 1 or more: in a strict run no tree is stale");
  }
  if (learn.checkpoint_activations && learn.packing == Packing::kNone) {
    bad_input("[learn].checkpoint_activations works with packing = \"tree\" only: set that, or it to false");
  }
  if (learn.minibatch_problems > learn.problems) {
    bad_input("[learn].minibatch_problems is {}, more than [learn].problems, {}", learn.minibatch_problems,
              learn.problems);
  }
}

void SftParams::describe(ConfigVisitor& v) {
  v.field({.key = "steps",
           .unit = "updates",
           .meaning = "generated demonstrations: updates of the warm start",
           .min = 0,
           .max = 1e9},
          steps);
  v.field({.key = "batch", .unit = "demonstrations", .meaning = "demonstrations per update", .min = 1, .max = 1e6},
          batch);
  v.field(
      {.key = "seconds",
       .unit = "s",
       .meaning = "stop after this long even if updates remain (the result then depends on the machine); 0: no limit",
       .min = 0},
      seconds);
  v.field(
      {.key = "stages",
       .unit = "",
       .meaning = "generated demonstrations: 1: sizes mixed; more: [task].sizes join in order, after an equal share of "
                  "the updates each",
       .min = 1,
       .max = 64},
      stages);
  v.field(
      {.key = "epochs", .unit = "", .meaning = "--data: passes over the file's demonstrations", .min = 1, .max = 1e6},
      epochs);
  v.field(
      {.key = "validate_every",
       .unit = "updates",
       .meaning = "--data: measure the validation loss every so many updates; 0: before the first and after the last "
                  "only",
       .min = 0},
      validate_every);
  v.field({.key = "max_tokens",
           .unit = "tokens",
           .meaning = "--data: tokens of a demonstration at most, end included; 0: the model's context",
           .min = 0},
          max_tokens);
  v.choice({.key = "too_long",
            .unit = "",
            .meaning = "--data: longer ones are left out, or their responses cut (and lose their end)"},
           too_long, {{"leave_out", TooLong::kLeaveOut}, {"cut", TooLong::kCut}});
  v.table({.key = "optimizer", .meaning = "AdamW of supervised training"},
          [this](ConfigVisitor& sub) { optimizer.describe(sub); });
}

}  // namespace deepsearch
