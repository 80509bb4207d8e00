#include "engine/bench_models.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/rng.h"

namespace deepsearch {
namespace {

struct Named {
  const char* name;
  ModelFamily family;
  int64_t vocab, hidden, layers, heads, kv_heads, intermediate, positions;
  bool tied;
};

constexpr Named kShapes[] = {
    {"m1", ModelFamily::kLlama, 64, 128, 4, 4, 4, 352, 2048, false},
    {"m2", ModelFamily::kLlama, 32000, 512, 8, 8, 8, 1376, 2048, false},
    {"qwen2-0.5b", ModelFamily::kQwen2, 151936, 896, 24, 14, 2, 4864, 32768, true},
    {"qwen2-1.5b", ModelFamily::kQwen2, 151936, 1536, 28, 12, 2, 8960, 32768, true},
    {"llama3-8b", ModelFamily::kLlama, 128256, 4096, 32, 32, 8, 14336, 8192, false},
};

int64_t count_of(const TensorShape& tensor) {
  int64_t count = 1;
  for (const int64_t extent : tensor.shape) count *= extent;
  return count;
}

}  // namespace

ModelConfig bench_shape(const std::string& name) {
  std::string known;
  for (const Named& shape : kShapes) {
    if (name == shape.name) {
      ModelConfig config;
      config.family = shape.family;
      config.qkv_bias = shape.family == ModelFamily::kQwen2;
      config.vocab_size = shape.vocab;
      config.hidden_size = shape.hidden;
      config.n_layers = shape.layers;
      config.n_heads = shape.heads;
      config.n_kv_heads = shape.kv_heads;
      config.head_dim = shape.hidden / shape.heads;
      config.intermediate_size = shape.intermediate;
      config.max_positions = shape.positions;
      config.tie_embeddings = shape.tied;
      return config;
    }
    known += known.empty() ? shape.name : fmt::format(", {}", shape.name);
  }
  bad_input("--shape {}: unknown; there are {}", name, known);
}

BenchWeights::BenchWeights(ModelConfig config) : config_(std::move(config)), shapes_(expected_tensors(config_)) {
  int64_t largest = 0;
  for (const TensorShape& tensor : shapes_) largest = std::max(largest, count_of(tensor));
  values_.resize(static_cast<size_t>(largest));
  // bf16 between 2^-7 and 2^-5, either sign.
  uint64_t state = 1;
  for (uint16_t& value : values_) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    value = static_cast<uint16_t>(0x3C00U + ((state >> 40U) & 0xFFU) + ((state >> 63U) << 15U));
  }
}

TensorView BenchWeights::view(size_t index) const {
  const TensorShape& tensor = shapes_.at(index);
  return {.name = &tensor.name,
          .type = DType::kBF16,
          .shape = tensor.shape,
          .data = reinterpret_cast<const std::byte*>(values_.data()),
          .count = count_of(tensor)};
}

}  // namespace deepsearch
