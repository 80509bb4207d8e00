// Shape of a Llama-style decoder (RMSNorm, RoPE, grouped-query attention, SwiGLU, tied or untied embeddings), as in a
// Hugging Face config.json. Plain values, no LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config_visitor.h"
#include "data/tokens.h"

namespace deepsearch {

struct ModelConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 64;
  int64_t n_layers = 3;
  int64_t n_heads = 4;
  int64_t n_kv_heads = 4;
  int64_t head_dim = 16;
  int64_t intermediate_size = 160;
  int64_t max_positions = 512;
  double rope_theta = 10000.0;
  double rms_norm_eps = 1e-6;
  bool tie_embeddings = false;
  Token bos_token = -1;  // −1: none
  Token pad_token = 0;
  std::vector<Token> eos_tokens;

  bool operator==(const ModelConfig&) const = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(vocab_size, hidden_size, n_layers, n_heads, n_kv_heads, head_dim, intermediate_size, max_positions,
            rope_theta, rms_norm_eps, tie_embeddings, bos_token, pad_token, eos_tokens);
  }
};

// Throws bad_input, naming the field, when the shape cannot be a model (heads not divisible by kv heads, odd head_dim,
// …).
void check_model_config(const ModelConfig& config);

// config.json, both ways; `architectures: ["LlamaForCausalLM"]`. from_json names an unsupported architecture or
// feature.
std::string model_config_to_json(const ModelConfig& config);
ModelConfig model_config_from_json(const std::string& text, const std::string& file_name);

// [model] of a run's config: the shape of a model made from nothing, or where to load one.
struct ModelParams {
  std::string path;  // Hugging Face folder to start from; "": fresh weights
  int64_t hidden_size = 64;
  int64_t n_layers = 3;
  int64_t n_heads = 4;
  int64_t n_kv_heads = 4;
  int64_t intermediate_size = 160;
  bool tie_embeddings = false;
  int64_t max_positions = 512;

  void describe(ConfigVisitor& v);
};

}  // namespace deepsearch
