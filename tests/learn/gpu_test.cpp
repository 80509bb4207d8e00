// The learner on a GPU against the learner on the CPU. Skipped where there is no GPU.
#include "comm/gpu.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "learn/sample_rows.h"
#include "learn/solo.h"
#include "learn/trainer.h"

namespace deepsearch {
namespace {

class SoloGpu final : public SoloCollectives {
 public:
  bool on_device() const override { return true; }
};

LearnParams params_for(Compute compute, bool checkpointing) {
  LearnParams params;
  params.optimizer = {.lr = 1e-3, .warmup_steps = 0, .weight_decay = 0.1};
  params.compute = compute;
  params.checkpoint_activations = checkpointing;
  params.threads = 1;
  params.kl_coef = 0.01;
  params.entropy_coef = 0.01;
  return params;
}

struct Outcome {
  std::vector<float> moved;  // by how much each parameter
  std::vector<std::vector<float>> logprobs;
  TrainStats stats;
};

// A head of 32, which FlashAttention takes.
ModelConfig gpu_model() {
  ModelConfig config = small_model();
  config.hidden_size = 64;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.head_dim = 32;
  return config;
}

Outcome learn(Collectives& collectives, const LearnParams& params) {
  const ModelWeights start = fresh_weights(gpu_model(), 1);
  Trainer trainer(start, params, collectives, 10);
  Outcome outcome;
  outcome.logprobs = trainer.logprobs(sample_tree_rows(9, 6));
  outcome.stats = trainer.train({sample_tree_rows(20, 1), sample_rows(9, 2)}, {});
  outcome.moved = flatten(trainer.weights());
  const std::vector<float> from = flatten(start);
  for (size_t i = 0; i < from.size(); ++i) outcome.moved[i] -= from[i];
  return outcome;
}

double worst(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  double most = 0;
  for (size_t r = 0; r < a.size(); ++r) {
    for (size_t i = 0; i < a[r].size(); ++i) most = std::max(most, std::abs(static_cast<double>(a[r][i]) - b[r][i]));
  }
  return most;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double product = 0;
  double left = 0;
  double right = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += static_cast<double>(a[i]) * b[i];
    left += static_cast<double>(a[i]) * a[i];
    right += static_cast<double>(b[i]) * b[i];
  }
  return product / std::sqrt(left * right);
}

TEST(GpuLearner, LearnsAsOnTheCpu) {
  if (n_gpus() == 0) GTEST_SKIP() << gpu_summary();
  SoloCollectives cpu;
  SoloGpu gpu;
  const Outcome expected = learn(cpu, params_for(Compute::kFp32, false));
  for (const Packing packing : {Packing::kTree, Packing::kNone}) {
    LearnParams params = params_for(Compute::kFp32, false);
    params.packing = packing;
    const Outcome seen = learn(gpu, params);
    EXPECT_LT(worst(seen.logprobs, expected.logprobs), 1e-4);  // sums in another order
    EXPECT_GT(cosine(seen.moved, expected.moved), 0.999);
    EXPECT_NEAR(seen.stats.loss, expected.stats.loss, 1e-3);
  }
}

// bf16 with FlashAttention over gathered paths; activations kept and computed again.
TEST(GpuLearner, LearnsInBf16) {
  if (n_gpus() == 0) GTEST_SKIP() << gpu_summary();
  SoloCollectives cpu;
  SoloGpu gpu;
  const Outcome expected = learn(cpu, params_for(Compute::kFp32, false));
  for (const bool checkpointing : {false, true}) {
    const Outcome seen = learn(gpu, params_for(Compute::kBf16, checkpointing));
    EXPECT_LT(worst(seen.logprobs, expected.logprobs), 0.1);  // 8 bits
    EXPECT_GT(cosine(seen.moved, expected.moved), 0.8);
    EXPECT_EQ(seen.stats.trained_tokens, expected.stats.trained_tokens);
  }
}

}  // namespace
}  // namespace deepsearch
