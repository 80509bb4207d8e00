// The benchmarks measure something and refuse what they cannot; how fast it is, is no matter of a test.
#include "engine/bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "engine/bench_models.h"
#include "engine/engine_fixture.h"

namespace deepsearch {
namespace {

BenchSubject subject(const WeightSource& weights) {
  BenchSubject subject{.params = {}, .weights = &weights, .repetitions = 1};
  subject.params.device = "cpu";
  subject.params.kv_memory_mb = 50;
  return subject;
}

TEST(Bench, Decodes) {
  const ModelWeights weights = testing::lively_weights(testing::small_config(), 1);
  const Roofline roofline{.peak_gflops = 100, .bandwidth_gbs = 10};
  const DecodeResult one = bench_decode(subject(weights), roofline, 1, 10, 6, 0);
  const DecodeResult eight = bench_decode(subject(weights), roofline, 8, 10, 6, one.tokens_per_second);
  EXPECT_GT(eight.tokens_per_second, 0);
  EXPECT_GT(eight.whole_tokens_per_second, 0);
  EXPECT_GT(eight.tokens_per_cpu_second, 0);
  EXPECT_GT(eight.kv_bytes_peak, one.kv_bytes_peak);
  EXPECT_DOUBLE_EQ(one.against_one_at_a_time, 1.0);
  EXPECT_DOUBLE_EQ(eight.against_one_at_a_time, eight.tokens_per_second / one.tokens_per_second);
  // By hand: multiply-adds of a token's matrices, and of 13 positions of attention; four bytes a weight, 8 for KV.
  const double matrices = 2 * (32 * 96 + 32 * 32 + 3 * 32 * 48) + 32 * 23;
  const double flops = 2 * (matrices + 2 * 2 * 32 * 13);
  const double seconds = std::max(8 * flops / 100e9, (4 * matrices + 8 * 2 * 2 * 32 * 4 * 13) / 10e9);
  EXPECT_NEAR(eight.roofline_tokens_per_second, 8 / seconds, 1e-6 * 8 / seconds);
  EXPECT_THROW(bench_decode(subject(weights), roofline, 1, 125, 6, 0), Error);
}

TEST(Bench, PrefillsAndShares) {
  const ModelWeights weights = testing::lively_weights(testing::small_config(), 1);
  const PrefillResult prefill = bench_prefill(subject(weights), {.peak_gflops = 100}, 64);
  EXPECT_GT(prefill.tokens_per_second, 0);
  EXPECT_GT(prefill.against_token_by_token, 0);
  EXPECT_GT(prefill.share_of_peak, 0);
  const PrefixResult prefix = bench_prefix(subject(weights), 64, 8, 17);
  EXPECT_GT(prefix.ratio, 0);
  // 64 tokens fill four blocks, and each child's 16 fed tokens one.
  EXPECT_DOUBLE_EQ(prefix.kv_wasted, 0.0);
  EXPECT_THROW(bench_prefix(subject(weights), 120, 8, 17), Error);
}

TEST(Bench, Samples) {
  const SamplerResult result = bench_sampler(1000, 0.9);
  EXPECT_GT(result.draws_per_second, 0);
  EXPECT_GT(result.plain_draws_per_second, 0);
  EXPECT_THROW(bench_sampler(0, 0.9), Error);
}

TEST(Bench, KnowsItsShapes) {
  EXPECT_EQ(bench_shape("m2").vocab_size, 32000);
  try {
    bench_shape("m3");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("there are m1, m2, qwen2-0.5b"));
  }
  const ModelConfig config = bench_shape("m1");
  const BenchWeights weights(config);
  ASSERT_EQ(weights.tensor_count(), expected_tensors(config).size());
  std::vector<float> values(128);
  weights.view(1).read(0, values);
  for (const float value : values) {
    EXPECT_GE(std::abs(value), 0.0078F);
    EXPECT_LE(std::abs(value), 0.0313F);
  }
}

}  // namespace
}  // namespace deepsearch
