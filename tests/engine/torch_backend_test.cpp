// The LibTorch backend against the native one, on the CPU and, where there is one, on a GPU.
#include "engine/torch/torch_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "engine/engine_fixture.h"
#include "engine/native/native_backend.h"
#include "engine/standins.h"

namespace deepsearch {
namespace {

using testing::child_request;
using testing::drain;
using testing::expand;
using testing::lively_weights;
using testing::native_engine;
using testing::prompt_of;
using testing::root_request;

std::unique_ptr<Engine> torch_engine(const ModelWeights& weights, const std::string& device, int64_t max_batch) {
  EngineParams params;
  params.backend = "torch";
  params.device = device;
  params.max_batch = max_batch;
  auto engine = make_engine(params, weights.config, 5, 0);
  engine->set_weights(weights, 1);
  return engine;
}

class TorchBackendOn : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "cuda" && !torch_cuda_available()) GTEST_SKIP() << "no GPU";
  }
};

TEST_P(TorchBackendOn, LogitsAreTheNativeOnes) {
  for (const ModelConfig& config : {testing::small_config(), testing::odd_config(), testing::wide_config()}) {
    const ModelWeights weights = lively_weights(config, 3);
    std::vector<std::vector<float>> all;
    for (const bool native : {true, false}) {
      const auto backend = native ? make_native_backend(config, 1) : make_torch_backend(config, GetParam(), 1);
      backend->set_weights(weights);
      // A prompt, two continuations of it, and a row that only wants logits, in one pass.
      auto root = std::make_shared<KvSegment>();
      root->tokens = prompt_of(3, 30, config);
      root->store = backend->make_store(root->size());
      std::vector<BackendRow> rows;
      for (int32_t i = 0; i < root->size(); ++i) rows.push_back({.segment = root.get(), .offset = i});
      rows.push_back({.segment = root.get(), .offset = 29, .write = false, .wants_logits = true});
      std::vector<std::unique_ptr<KvSegment>> children;
      for (int32_t c = 0; c < 3; ++c) {
        children.push_back(std::make_unique<KvSegment>());
        children.back()->parent = root;
        children.back()->start = 30;
        children.back()->tokens = prompt_of(static_cast<uint64_t>(c), 1 + 3 * c, config);
        children.back()->store = backend->make_store(children.back()->size());
        for (int32_t i = 0; i < children.back()->size(); ++i) {
          rows.push_back({.segment = children.back().get(), .offset = i, .write = true, .wants_logits = true});
        }
      }
      std::vector<float> logits;
      backend->forward(rows, logits);
      all.push_back(logits);
      EXPECT_GT(backend->kv_bytes(), 0);
      children.clear();
      root.reset();
      EXPECT_EQ(backend->kv_bytes(), 0);
    }
    ASSERT_EQ(all[0].size(), static_cast<size_t>(config.vocab_size) * (1 + 1 + 4 + 7));
    ASSERT_EQ(all[0].size(), all[1].size());
    for (size_t i = 0; i < all[0].size(); ++i) ASSERT_NEAR(all[0][i], all[1][i], 1e-4);
  }
}

TEST_P(TorchBackendOn, SamplesTheSameTreesAsTheNativeBackend) {
  const ModelWeights weights = lively_weights(testing::odd_config(), 9);
  const auto native = native_engine(weights, 16);
  const auto torch = torch_engine(weights, GetParam(), 16);
  ComparingGenerator both(*native, *torch, 1e-4);
  for (uint64_t tree = 0; tree < 10; ++tree) {
    const ExpansionRequest root =
        root_request(tree, prompt_of(tree, 4 + static_cast<int64_t>(tree), weights.config), 4, 6);
    const Expansion first = expand(both, root);
    for (int32_t i = 0; i < 4; ++i) {
      if (first.children[static_cast<size_t>(i)].finish == Finish::kLength)
        expand(both, child_request(root, first, i, 5 + 4 * i));
    }
  }
  EXPECT_GT(both.compared_tokens(), 300);
  EXPECT_THAT(both.differences(), ::testing::IsEmpty());
  EXPECT_EQ(native->counters().tokens_prefilled, torch->counters().tokens_prefilled);
  EXPECT_GT(torch->counters().kv_bytes, 0);
  for (uint64_t tree = 0; tree < 10; ++tree) both.release(tree);
  EXPECT_EQ(torch->counters().kv_bytes, 0);
}

TEST_P(TorchBackendOn, NewWeightsTakeEffect) {
  const ModelWeights a = lively_weights(testing::small_config(), 9);
  const ModelWeights b = lively_weights(testing::small_config(), 10);
  const auto native = native_engine(a, 16);
  const auto torch = torch_engine(a, GetParam(), 16);
  ComparingGenerator both(*native, *torch, 1e-4);
  both.submit(root_request(1, prompt_of(1, 9, a.config), 4, 8));
  std::vector<Expansion> finished;
  both.poll(finished);
  native->set_weights(b, 2);
  torch->set_weights(b, 2);
  while (both.in_flight() > 0) both.poll(finished);
  EXPECT_GT(both.compared_tokens(), 0);
  EXPECT_THAT(both.differences(), ::testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Devices, TorchBackendOn, ::testing::Values("cpu", "cuda"));

TEST(MakeEngine, ChoosesAndRefusesByName) {
  const ModelConfig config = testing::small_config();
  EngineParams params;
  params.device = "cpu";
  EXPECT_THAT(make_engine(params, config, 1, 0)->description(), ::testing::HasSubstr("native CPU"));
  params.backend = "torch";
  EXPECT_THAT(make_engine(params, config, 1, 0)->description(), ::testing::HasSubstr("LibTorch on cpu"));
  params.device = "cuda";
  if (!torch_cuda_available()) {
    try {
      make_engine(params, config, 1, 0);
      FAIL() << "a GPU was asked for and there is none";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("[engine].device"));
      EXPECT_EQ(error.exit_code(), kExitBadInput);
    }
  } else {
    params.backend = "native";
    EXPECT_THROW(make_engine(params, config, 1, 0), Error);
  }
}

}  // namespace
}  // namespace deepsearch
