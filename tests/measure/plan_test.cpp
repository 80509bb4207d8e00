#include "measure/plan.h"

#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/temp_folder.h"
#include "engine/bench_models.h"
#include "model/weights.h"

namespace deepsearch {
namespace {

using ::testing::HasSubstr;

Hardware gpu() {
  return {.name = "a GPU",
          .gpu = true,
          .memory_gb = 80,
          .reserved_gb = 0,
          .bf16_tflops = 100,
          .fp32_tflops = 10,
          .bandwidth_gbs = 1000,
          .link_gbs = 10,
          .host_link_gbs = 10,
          .learn_share = 0.5,
          .generate_share = 0.5,
          .bandwidth_share = 0.5,
          .pass_overhead_us = 0};
}

PlanInput sample() {
  PlanInput input;
  input.model = bench_shape("qwen2-1.5b");
  input.learn.compute = Compute::kBf16;
  input.learn.tokens_per_microbatch = 4096;
  input.hardware = gpu();
  SearchParams search;
  search.max_depth = 16;
  input.work = workload_of(search, 256, 2048, 0.5);
  input.search_ranks = 4;
  input.learners = 4;
  input.devices = 8;
  return input;
}

double term(const RankMemory& memory, const std::string& name) {
  const auto found = std::ranges::find_if(memory.terms, [&](const MemoryTerm& t) { return t.name.starts_with(name); });
  return found == memory.terms.end() ? 0 : found->bytes;
}

TEST(Workload, CountsExpansionsOfATreeAndRollouts) {
  SearchParams search;
  search.max_depth = 10;
  search.step_tokens = 100;
  search.width = 4;
  search.trajectories = 5;
  const Workload tree = workload_of(search, 50, 600, 0.5);
  // Six expansions of 4·100 tokens for the first trajectory, three for each of four others.
  EXPECT_DOUBLE_EQ(tree.generated_tokens, 18 * 400);
  EXPECT_DOUBLE_EQ(tree.row_tokens(), 5 * 650);
  EXPECT_DOUBLE_EQ(tree.unique_tokens(), 50 + 600 + 4 * 300);
  EXPECT_DOUBLE_EQ(tree.longest_row, 1050);
  search.token_budget = 1000;
  EXPECT_DOUBLE_EQ(workload_of(search, 50, 600, 0.5).generated_tokens, 1000);
  search.when = When::kNever;
  search.group = 8;
  const Workload rollouts = workload_of(search, 50, 600, 0.5);
  EXPECT_DOUBLE_EQ(rollouts.generated_tokens, 8 * 600);
  EXPECT_DOUBLE_EQ(rollouts.trajectories, 8);
  EXPECT_DOUBLE_EQ(rollouts.unique_tokens(), 50 + 8 * 600);  // only the prompt is shared
}

TEST(LearnerMemory, StateByParameterInEachArithmetic) {
  PlanInput input = sample();
  const auto n = static_cast<double>(parameter_count(input.model));
  RankMemory memory = learner_memory(input);
  EXPECT_DOUBLE_EQ(term(memory, "weights"), 2 * n);
  EXPECT_DOUBLE_EQ(term(memory, "master"), n);  // four bytes over four learners
  EXPECT_DOUBLE_EQ(term(memory, "gradients"), 2 * n);
  EXPECT_DOUBLE_EQ(term(memory, "gradient sums"), 4 * n);
  EXPECT_DOUBLE_EQ(term(memory, "AdamW"), 2 * n);
  EXPECT_EQ(term(memory, "reference"), 0);
  input.learn.shard_optimizer = false;
  input.learn.kl_coef = 0.1;
  memory = learner_memory(input);
  EXPECT_DOUBLE_EQ(term(memory, "master"), 4 * n);
  EXPECT_DOUBLE_EQ(term(memory, "AdamW"), 8 * n);
  EXPECT_DOUBLE_EQ(term(memory, "reference"), 2 * n);
  input.learn.compute = Compute::kFp32;
  memory = learner_memory(input);
  EXPECT_DOUBLE_EQ(term(memory, "weights"), 4 * n);
  EXPECT_EQ(term(memory, "master"), 0);
  EXPECT_EQ(term(memory, "gradient sums"), 0);  // fp32 on a GPU adds up where it is
  input.hardware.gpu = false;
  EXPECT_DOUBLE_EQ(term(learner_memory(input), "gradient sums"), 8 * n);
}

TEST(LearnerMemory, ActivationsGrowWithTokensAndShrinkWhenComputedAgain) {
  PlanInput input = sample();
  const double once = term(learner_memory(input), "activations");
  // 28 layers: 4 · 1536, 2 · 1536 + 2 · 256 for heads, 4 · 8960; beside them 3 · 8960 + 6 · 1536, of 2 bytes.
  const double layer = 4 * 1536 + 2 * 1536 + 2 * 256 + 4 * 8960;
  EXPECT_DOUBLE_EQ(once, 4352 * 2 * (28 * layer + 3 * 8960 + 6 * 1536));  // the longest row, not the 4096
  input.learn.tokens_per_microbatch = 2 * 4352;
  EXPECT_DOUBLE_EQ(term(learner_memory(input), "activations"), 2 * once);
  input.learn.checkpoint_activations = true;
  EXPECT_LT(term(learner_memory(input), "activations"), 0.2 * once);
}

TEST(SearchMemory, KvTakesWhatIsGivenOrLeft) {
  PlanInput input = sample();
  EXPECT_DOUBLE_EQ(kv_bytes_per_token(input), 2 * 2 * 28 * 2 * 128);
  const double left = 80e9 - search_memory(input, 0).bytes();
  EXPECT_DOUBLE_EQ(kv_room(input), 0.95 * left);
  input.engine.kv_memory_mb = 1000;
  EXPECT_DOUBLE_EQ(search_memory(input, 123).terms.back().bytes, 1e9);
  input.engine.weights = "fp32";
  EXPECT_DOUBLE_EQ(kv_bytes_per_token(input), 4 * 2 * 28 * 2 * 128);
}

TEST(Devices, ApartOrShared) {
  PlanInput input = sample();
  std::vector<DeviceMemory> devices = device_memory(input);
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_DOUBLE_EQ(devices[0].used, learner_memory(input).bytes());
  input.devices = 4;
  input.engine.kv_memory_mb = 1000;
  devices = device_memory(input);
  ASSERT_EQ(devices.size(), 1U);
  EXPECT_DOUBLE_EQ(devices[0].used, learner_memory(input).bytes() + search_memory(input, 0).bytes());
  input.devices = 2;
  EXPECT_DOUBLE_EQ(device_memory(input)[0].used, 2 * devices[0].used);
}

// What is advised must itself fit: the advice is followed and asked again.
TEST(Fit, NamesAKeyThatHelps) {
  PlanInput input = sample();
  EXPECT_EQ(what_does_not_fit(input), "");
  input.hardware.memory_gb = 46;
  input.learn.tokens_per_microbatch = 65536;
  std::string problem = what_does_not_fit(input);
  EXPECT_THAT(problem, HasSubstr("a learner rank: "));
  EXPECT_THAT(problem, HasSubstr("[learn].tokens_per_microbatch = 8192 would fit"));
  input.learn.tokens_per_microbatch = 8192;
  EXPECT_EQ(what_does_not_fit(input), "");
  input.hardware.memory_gb = 25;
  EXPECT_THAT(what_does_not_fit(input), HasSubstr("[learn].checkpoint_activations = true would fit"));
  input.learn.tokens_per_microbatch = 65536;
  EXPECT_THAT(what_does_not_fit(input), HasSubstr("tokens_per_microbatch = 8192 and checkpoint_activations = true"));
  input.learn.tokens_per_microbatch = 4352;
  EXPECT_THAT(what_does_not_fit(input), HasSubstr("[learn].checkpoint_activations = true would fit"));
  input.learn.checkpoint_activations = true;
  EXPECT_EQ(what_does_not_fit(input), "");
  input.hardware.memory_gb = 3;
  EXPECT_THAT(what_does_not_fit(input), HasSubstr("none of these keys alone helps"));
  input = sample();
  input.engine.kv_memory_mb = 1'000'000;
  EXPECT_THAT(what_does_not_fit(input), HasSubstr("[engine].kv_memory_mb = 62500 would fit"));
  input.engine.kv_memory_mb = 10;
  EXPECT_THAT(what_does_not_fit(input), HasSubstr("do not hold one trajectory of 4352 tokens"));
  EXPECT_THAT(what_does_not_fit(input), HasSubstr("[engine].kv_memory_mb = 125 would fit"));  // 4352 · 28,672 bytes
  input.engine.kv_memory_mb = 0;
  input.devices = 4;
  EXPECT_THAT(what_does_not_fit(input), HasSubstr("share a GPU"));
}

TEST(StepSeconds, EachPartFollowsItsLimit) {
  PlanInput input = sample();
  const StepTime time = step_time(input);
  const auto n = static_cast<double>(parameter_count(input.model));
  EXPECT_EQ(time.updates, 8);
  EXPECT_DOUBLE_EQ(time.generated_tokens, 256 * input.work.generated_tokens);
  EXPECT_DOUBLE_EQ(time.row_tokens, 256 * 8 * (256 + 2048.0));
  EXPECT_DOUBLE_EQ(time.computed_tokens, 256 * (256 + 2048 * 4.5));
  EXPECT_DOUBLE_EQ(time.learning, time.learn_flops / (4 * 100e12 * 0.5));
  // Six operations a parameter and token, and more for attention; the embedding is the head here, and prompts have
  // none.
  EXPECT_GT(time.learn_flops, 0.9 * 6 * n * time.computed_tokens);
  EXPECT_LT(time.learn_flops, 1.3 * 6 * n * time.computed_tokens);
  EXPECT_DOUBLE_EQ(time.broadcast, 4 * 4 * n / 10e9);
  input.learn.packing = Packing::kNone;
  EXPECT_DOUBLE_EQ(step_time(input).computed_tokens, time.row_tokens);
  input = sample();
  input.learn.checkpoint_activations = true;
  EXPECT_GT(step_time(input).learning, 1.2 * time.learning);
  EXPECT_LT(step_time(input).learning, time.learning * 4 / 3);
  input = sample();
  input.hardware.bf16_tflops *= 1.5;  // a pass over many sequences waits for products
  EXPECT_NEAR(step_time(input).generation, time.generation / 1.5, 1e-6 * time.generation);
  input = sample();
  input.engine.max_batch = 8;  // one over few sequences for memory
  const double few = step_time(input).generation;
  input.hardware.bandwidth_gbs *= 2;
  EXPECT_NEAR(step_time(input).generation, few / 2, 1e-6 * few);
  input = sample();
  input.hardware.link_gbs = 1e9;
  EXPECT_LT(step_time(input).gradient_sync, 1e-3);
  input.learners = 1;
  EXPECT_EQ(step_time(input).gradient_sync, 0);
  input = sample();
  input.one_rank = true;
  input.search_ranks = input.learners = input.devices = 1;
  EXPECT_GT(step_time(input).learning, 3.9 * time.learning);
}

TEST(StepSeconds, SmallBatchesReadTheWeightsForFewTokens) {
  PlanInput input = sample();
  const double many = step_time(input).generated_per_second;
  input.engine.max_batch = 8;
  const double few = step_time(input).generated_per_second;
  EXPECT_EQ(step_time(input).batch, 8);
  EXPECT_LT(few, many / 5);
}

TEST(HardwareFile, StartsFromAPresetAndTakesKeys) {
  TempFolder folder;
  const std::string path = folder.write("gpu.toml", "[hardware]\nlike = \"a100\"\nmemory_gb = 40\n");
  const Hardware found = read_hardware(path, {"link_gbs=5"});
  EXPECT_EQ(found.memory_gb, 40);
  EXPECT_EQ(found.link_gbs, 5);
  EXPECT_EQ(found.bf16_tflops, read_hardware("a100", {}).bf16_tflops);
  EXPECT_THROW(read_hardware("abacus", {}), Error);
  EXPECT_THROW(read_hardware("a100", {"beads=7"}), Error);
  EXPECT_THROW(read_hardware(folder.write("none.toml", "[hardware]\nmemory_gb = 40\n"), {}), Error);
}

}  // namespace
}  // namespace deepsearch
