#include "learn/trainer.h"

#include <cmath>

#include <gtest/gtest.h>

#include "core/error.h"
#include "learn/sample_rows.h"
#include "learn/solo.h"
#include "learn/warm_start.h"

namespace deepsearch {
namespace {

LearnParams quick_params() {
  LearnParams params;
  params.optimizer = {.lr = 1e-2, .warmup_steps = 0, .weight_decay = 0.1};
  params.threads = 1;
  return params;
}

double worst_relative(const ModelWeights& a, const ModelWeights& b) {
  const std::vector<float> left = flatten(a);
  const std::vector<float> right = flatten(b);
  double worst = 0;
  double largest = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(left[i]) - right[i]));
    largest = std::max(largest, std::abs(static_cast<double>(left[i])));
  }
  return worst / largest;
}

TEST(Trainer, SameBatchSameParametersTwice) {
  SoloCollectives solo;
  const ModelWeights start = fresh_weights(small_model(), 1);
  std::vector<ModelWeights> ends;
  for (int run = 0; run < 2; ++run) {
    Trainer trainer(start, quick_params(), solo, 10);
    trainer.train({sample_rows(12, 1), sample_rows(9, 2)}, {});
    ends.push_back(trainer.weights());
  }
  EXPECT_EQ(flatten(ends[0]), flatten(ends[1]));
  EXPECT_NE(flatten(ends[0]), flatten(start));
}

TEST(Trainer, MicroBatchSizeDoesNotChangeTheResult) {
  SoloCollectives solo;
  const ModelWeights start = fresh_weights(small_model(), 1);
  std::vector<ModelWeights> ends;
  for (const int64_t tokens : {20, 100, 100000}) {
    LearnParams params = quick_params();
    params.tokens_per_microbatch = tokens;
    Trainer trainer(start, params, solo, 10);
    trainer.train({sample_rows(24, 1)}, {});
    ends.push_back(trainer.weights());
  }
  // fp32 sums in another order; Adam divides tiny gradients by their own size, hence not tighter.
  EXPECT_LT(worst_relative(ends[0], ends[1]), 1e-4);
  EXPECT_LT(worst_relative(ends[0], ends[2]), 1e-4);
}

TEST(Trainer, FirstUpdateOfAnOnPolicyBatchHasRatioOneAndNoClipping) {
  SoloCollectives solo;
  Trainer trainer(fresh_weights(small_model(), 1), quick_params(), solo, 10);
  std::vector<Row> rows = sample_rows(10, 4);
  const auto logprobs = trainer.logprobs(rows);
  for (size_t i = 0; i < rows.size(); ++i) rows[i].behaviour = logprobs[i];
  const TrainStats stats = trainer.train({rows}, {});
  EXPECT_NEAR(stats.ratio_max, 1.0, 1e-4);
  EXPECT_NEAR(stats.mismatch_kl, 0.0, 1e-6);
  EXPECT_EQ(stats.clip_fraction, 0.0);
  int64_t tokens = 0;
  for (const Row& row : rows) tokens += row.n_response();
  EXPECT_EQ(stats.trained_tokens, tokens);
}

TEST(Trainer, RecomputedBehaviourIgnoresTheGivenOne) {
  SoloCollectives solo;
  LearnParams params = quick_params();
  params.behaviour = Behaviour::kRecomputed;
  Trainer trainer(fresh_weights(small_model(), 1), params, solo, 10);
  const TrainStats stats = trainer.train({sample_rows(10, 4)}, {});
  EXPECT_NEAR(stats.ratio_max, 1.0, 1e-4);
}

// Raising what had a positive advantage is what a policy gradient is for.
TEST(Trainer, MovesProbabilityTowardsPositiveAdvantages) {
  SoloCollectives solo;
  LearnParams params = quick_params();
  params.optimizer.lr = 1e-3;
  Trainer trainer(fresh_weights(small_model(), 1), params, solo, 10);
  std::vector<Row> rows = sample_rows(6, 9);
  const auto before = trainer.logprobs(rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].behaviour = before[i];
    std::fill(rows[i].advantages.begin(), rows[i].advantages.end(), i < 3 ? 1.0F : -1.0F);
  }
  trainer.train({rows}, {});
  const auto after = trainer.logprobs(rows);
  double up = 0;
  double down = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < after[i].size(); ++j) (i < 3 ? up : down) += after[i][j] - before[i][j];
  }
  EXPECT_GT(up, 0);
  EXPECT_LT(down, 0);
}

TEST(Trainer, KlToTheStartHoldsThePolicyBack) {
  SoloCollectives solo;
  const ModelWeights start = fresh_weights(small_model(), 1);
  std::vector<double> moved;
  for (const double kl : {0.0, 10.0}) {
    LearnParams params = quick_params();
    params.kl_coef = kl;
    params.optimizer.weight_decay = 0;
    Trainer trainer(start, params, solo, 10);
    std::vector<Row> rows = sample_rows(8, 4);
    const auto before = trainer.logprobs(rows);
    for (size_t i = 0; i < rows.size(); ++i) rows[i].behaviour = before[i];
    for (int step = 0; step < 20; ++step) trainer.train({rows}, {});
    const auto after = trainer.logprobs(rows);
    double change = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      for (size_t j = 0; j < after[i].size(); ++j) change += std::abs(after[i][j] - before[i][j]);
    }
    moved.push_back(change);
  }
  EXPECT_LT(moved[1], 0.7 * moved[0]);
}

TEST(Trainer, AGradientThatIsNotFiniteIsSkippedAndCounted) {
  SoloCollectives solo;
  const ModelWeights start = fresh_weights(small_model(), 1);
  Trainer trainer(start, quick_params(), solo, 10);
  std::vector<Row> rows = sample_rows(4, 1);
  rows[0].advantages[0] = std::nanf("");
  const TrainStats stats = trainer.train({rows}, {});
  EXPECT_EQ(stats.skipped_updates, 1);
  EXPECT_EQ(flatten(trainer.weights()), flatten(start));
}

TEST(Trainer, PackingDoesNotChangeTheResult) {
  SoloCollectives solo;
  std::vector<ModelWeights> ends;
  std::vector<TrainStats> stats;
  for (const Packing packing : {Packing::kTree, Packing::kNone}) {
    LearnParams params = quick_params();
    params.packing = packing;
    params.optimizer.lr = 1e-3;
    params.kl_coef = 0.05;
    params.entropy_coef = 0.01;
    params.epochs = 2;
    params.tokens_per_microbatch = 60;
    Trainer trainer(fresh_weights(small_model(), 1), params, solo, 10);
    stats.push_back(trainer.train({sample_tree_rows(12, 1), sample_tree_rows(9, 2)}, {}));
    ends.push_back(trainer.weights());
  }
  // fp32 sums in another order; Adam divides tiny gradients by their own size.
  EXPECT_LT(worst_relative(ends[0], ends[1]), 1e-5);
  EXPECT_EQ(stats[0].trained_tokens, stats[1].trained_tokens);
  EXPECT_EQ(stats[0].row_tokens, stats[1].row_tokens);
  EXPECT_LT(stats[0].computed_tokens, stats[0].row_tokens);
  EXPECT_GE(stats[1].computed_tokens, stats[1].row_tokens);
  const auto same = [&](double TrainStats::*value) { EXPECT_NEAR(stats[0].*value, stats[1].*value, 1e-5); };
  for (double TrainStats::*value :
       {&TrainStats::loss, &TrainStats::policy_loss, &TrainStats::policy_entropy, &TrainStats::grad_norm,
        &TrainStats::clip_fraction, &TrainStats::clip_low_fraction, &TrainStats::approx_kl, &TrainStats::reference_kl,
        &TrainStats::ratio_mean, &TrainStats::ratio_std, &TrainStats::ratio_min, &TrainStats::ratio_max,
        &TrainStats::mismatch_mean, &TrainStats::mismatch_max, &TrainStats::advantage_mean, &TrainStats::advantage_std,
        &TrainStats::positive_fraction}) {
    same(value);
  }
}

TEST(Trainer, CheckpointedActivationsGiveTheSameBits) {
  SoloCollectives solo;
  std::vector<std::vector<float>> ends;
  for (const bool checkpoint : {false, true}) {
    LearnParams params = quick_params();
    params.checkpoint_activations = checkpoint;
    Trainer trainer(fresh_weights(small_model(), 1), params, solo, 10);
    trainer.train({sample_tree_rows(12, 1), sample_tree_rows(9, 2)}, {});
    ends.push_back(flatten(trainer.weights()));
  }
  EXPECT_EQ(ends[0], ends[1]);
}

// bf16 has 8 bits: steps of lr 1e-3 must add up in the master weights, and point where fp32's do.
TEST(Trainer, Bf16GoesWhereFp32Goes) {
  SoloCollectives solo;
  const ModelWeights start = fresh_weights(small_model(), 1);
  std::vector<std::vector<float>> moves;
  for (const Compute compute : {Compute::kFp32, Compute::kBf16}) {
    LearnParams params = quick_params();
    params.compute = compute;
    params.optimizer.lr = 2e-3;
    Trainer trainer(start, params, solo, 10);
    for (int step = 0; step < 10; ++step) trainer.train({sample_tree_rows(12, 1)}, {});
    std::vector<float> move = flatten(trainer.weights());
    const std::vector<float> from = flatten(start);
    for (size_t i = 0; i < move.size(); ++i) move[i] -= from[i];
    moves.push_back(move);
  }
  double product = 0;
  double norms[2] = {};
  for (size_t i = 0; i < moves[0].size(); ++i) {
    product += static_cast<double>(moves[0][i]) * moves[1][i];
    for (size_t m = 0; m < 2; ++m) norms[m] += static_cast<double>(moves[m][i]) * moves[m][i];
  }
  EXPECT_GT(product / std::sqrt(norms[0] * norms[1]), 0.9);
}

TEST(Trainer, StatsKnowTheWork) {
  SoloCollectives solo;
  Trainer trainer(fresh_weights(small_model(), 1), quick_params(), solo, 10);
  std::vector<Row> rows = sample_tree_rows(12, 1);
  for (Row& row : rows) row.versions.assign(static_cast<size_t>(row.n_response()), 3);
  const TrainStats stats = trainer.train({rows}, {}, /*version=*/5);
  EXPECT_GT(stats.flops, 0);
  EXPECT_GT(stats.peak_flops, 0);
  EXPECT_EQ(stats.staleness_mean, 2);
  EXPECT_EQ(stats.staleness_max, 2);
  EXPECT_EQ(stats.importance_mean, 1);
}

TEST(Trainer, TokensThatAreTooOldTeachNothing) {
  SoloCollectives solo;
  const ModelWeights start = fresh_weights(small_model(), 1);
  LearnParams params = quick_params();
  params.max_token_age = 1;
  Trainer trainer(start, params, solo, 10);
  std::vector<Row> rows = sample_tree_rows(12, 1);
  for (Row& row : rows) row.versions.assign(static_cast<size_t>(row.n_response()), 3);
  const TrainStats stats = trainer.train({rows}, {}, /*version=*/5);
  EXPECT_EQ(stats.updates, 0);
  EXPECT_EQ(stats.trained_tokens, 0);
  EXPECT_EQ(flatten(trainer.weights()), flatten(start));
}

TEST(Trainer, ARunOfBadUpdatesEndsIt) {
  SoloCollectives solo;
  LearnParams params = quick_params();
  params.max_bad_steps = 3;
  Trainer trainer(fresh_weights(small_model(), 1), params, solo, 10);
  std::vector<Row> bad = sample_rows(4, 1);
  bad[0].advantages[0] = std::nanf("");
  trainer.train({bad, bad}, {});
  trainer.train({sample_rows(4, 1)}, {});  // a good one: counted anew
  trainer.train({bad, bad}, {});
  EXPECT_THROW(trainer.train({bad}, {}), Error);
}

TEST(Trainer, NothingToLearnIsDefined) {
  SoloCollectives solo;
  const ModelWeights start = fresh_weights(small_model(), 1);
  Trainer trainer(start, quick_params(), solo, 10);
  const TrainStats stats = trainer.train({{}, {}}, {});
  EXPECT_EQ(stats.updates, 0);
  EXPECT_TRUE(std::isfinite(stats.loss));
  EXPECT_TRUE(std::isfinite(stats.ratio_min));
  EXPECT_EQ(trainer.supervise({}), 0);
  std::vector<Row> equal = sample_rows(4, 2);  // advantages of a group whose rewards are all equal
  for (Row& row : equal) std::fill(row.advantages.begin(), row.advantages.end(), 0.0F);
  EXPECT_EQ(trainer.train({equal}, {}).loss, 0);
  for (const float value : flatten(trainer.weights())) EXPECT_TRUE(std::isfinite(value));
}

TEST(Trainer, LogLikelihoodIsTheSumOfLogProbs) {
  SoloCollectives solo;
  Trainer trainer(fresh_weights(small_model(), 1), quick_params(), solo, 10);
  const std::vector<Row> rows = sample_tree_rows(9, 3);
  double sum = 0;
  int64_t tokens = 0;
  for (const std::vector<float>& row : trainer.logprobs(rows)) {
    tokens += static_cast<int64_t>(row.size());
    for (const float value : row) sum += value;
  }
  const auto likelihood = trainer.log_likelihood(rows);
  EXPECT_NEAR(likelihood.sum, sum, 1e-3);
  EXPECT_EQ(likelihood.tokens, tokens);
}

TEST(WarmStart, LowersTheLossAndRepeatsBitForBit) {
  SoloCollectives solo;
  TaskParams task;
  task.name = "bag";
  task.sizes = {3};
  ModelConfig config = small_model();
  config.vocab_size = static_cast<int64_t>(make_task(task)->vocabulary().size());
  SftParams params;
  params.steps = 60;
  params.batch = 16;
  params.optimizer.lr = 1e-2;
  std::vector<std::vector<float>> ends;
  std::vector<double> losses;
  for (int run = 0; run < 2; ++run) {
    const SupervisedModel end = warm_start(fresh_weights(config, 1), task, params, quick_params(), solo,
                                           [&](const WarmStartProgress& now) { losses.push_back(now.loss); });
    ends.push_back(flatten(end.weights));
  }
  EXPECT_LT(losses[59], 0.9 * losses[0]);
  EXPECT_EQ(ends[0], ends[1]);
}

}  // namespace
}  // namespace deepsearch
