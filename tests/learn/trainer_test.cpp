#include "learn/trainer.h"

#include <cmath>

#include <gtest/gtest.h>

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
    const ModelWeights end = warm_start(fresh_weights(config, 1), task, params, quick_params(), solo,
                                        [&](const WarmStartProgress& now) { losses.push_back(now.loss); });
    ends.push_back(flatten(end));
  }
  EXPECT_LT(losses[59], 0.9 * losses[0]);
  EXPECT_EQ(ends[0], ends[1]);
}

}  // namespace
}  // namespace deepsearch
