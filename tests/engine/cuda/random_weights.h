// Weights of a shape, at random, in bf16, made as they are asked for: one buffer serves all tensors.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "engine/cuda/device_fixture.h"
#include "model/weights.h"

namespace deepsearch::testing {

class RandomWeights final : public WeightSource {
 public:
  explicit RandomWeights(const ModelConfig& config) : config_(config) {
    const int64_t h = config.hidden_size;
    const int64_t q = config.n_heads * config.head_dim;
    const int64_t kv = config.n_kv_heads * config.head_dim;
    add("model.embed_tokens.weight", {config.vocab_size, h});
    for (int64_t layer = 0; layer < config.n_layers; ++layer) {
      const std::string p = "model.layers." + std::to_string(layer) + ".";
      for (const char* name : {"input_layernorm.weight", "post_attention_layernorm.weight"}) add(p + name, {h});
      add(p + "self_attn.q_proj.weight", {q, h});
      add(p + "self_attn.k_proj.weight", {kv, h});
      add(p + "self_attn.v_proj.weight", {kv, h});
      if (config.qkv_bias) add(p + "self_attn.q_proj.bias", {q});
      if (config.qkv_bias) add(p + "self_attn.k_proj.bias", {kv});
      if (config.qkv_bias) add(p + "self_attn.v_proj.bias", {kv});
      add(p + "self_attn.o_proj.weight", {h, q});
      add(p + "mlp.gate_proj.weight", {config.intermediate_size, h});
      add(p + "mlp.up_proj.weight", {config.intermediate_size, h});
      add(p + "mlp.down_proj.weight", {h, config.intermediate_size});
    }
    add("model.norm.weight", {h});
    if (!config.tie_embeddings) add("lm_head.weight", {config.vocab_size, h});
    Numbers numbers(99);
    std::vector<float> some = numbers.normals(1 << 16, 0.02F);
    const std::vector<std::byte> bytes = encode(DType::kBF16, some);
    while (static_cast<int64_t>(buffer_.size()) < 2 * largest_)
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }

  const ModelConfig& model_config() const override { return config_; }
  size_t tensor_count() const override { return names_.size(); }
  TensorView view(size_t index) const override {
    int64_t count = 1;
    for (const int64_t n : shapes_.at(index)) count *= n;
    return {
        .name = &names_[index], .type = DType::kBF16, .shape = shapes_[index], .data = buffer_.data(), .count = count};
  }
  void release(size_t /*index*/) const override {}

 private:
  void add(std::string name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    largest_ = std::max(largest_, count);
    names_.push_back(std::move(name));
    shapes_.push_back(std::move(shape));
  }

  ModelConfig config_;
  int64_t largest_ = 0;
  std::vector<std::string> names_;
  std::vector<std::vector<int64_t>> shapes_;
  std::vector<std::byte> buffer_;
};

}  // namespace deepsearch::testing
