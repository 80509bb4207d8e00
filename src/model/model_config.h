// Shape of a decoder of the Llama family (RMSNorm, RoPE, grouped-query attention, SwiGLU, tied or untied embeddings)
// and of its relatives, as in a Hugging Face config.json. Plain values, no LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config_visitor.h"
#include "data/tokens.h"
#include "model/dtype.h"

namespace deepsearch {

// What transformers calls the architecture. The networks differ in two places: Qwen2 adds biases to q, k and v; Qwen3
// normalises each head of q and k (RMSNorm over head_dim, before the rotation).
enum class ModelFamily : uint8_t { kLlama, kQwen2, kQwen3 };
const char* family_name(ModelFamily family);  // "llama", "qwen2", "qwen3": config.json's model_type

// How rotary frequencies are stretched for contexts longer than those trained on (transformers' rope_parameters).
struct RopeScaling {
  enum class Kind : uint8_t { kNone, kLinear, kLlama3, kYarn };
  Kind kind = Kind::kNone;
  double factor = 1.0;
  int64_t original_max_positions = 0;  // llama3, yarn
  double low_freq_factor = 1.0;        // llama3
  double high_freq_factor = 4.0;       // llama3
  double beta_fast = 32.0;             // yarn
  double beta_slow = 1.0;              // yarn
  double attention_factor = 0.0;       // yarn: cosines and sines are multiplied by it; 0: 0.1·ln(factor) + 1
  bool truncate = true;                // yarn: the range of dimensions is widened to whole numbers

  bool operator==(const RopeScaling&) const = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(kind, factor, original_max_positions, low_freq_factor, high_freq_factor, beta_fast, beta_slow,
            attention_factor, truncate);
  }
};

struct ModelConfig {
  ModelFamily family = ModelFamily::kLlama;
  int64_t vocab_size = 0;
  int64_t hidden_size = 64;
  int64_t n_layers = 3;
  int64_t n_heads = 4;
  int64_t n_kv_heads = 4;
  int64_t head_dim = 16;
  int64_t intermediate_size = 160;
  int64_t max_positions = 512;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  bool qkv_bias = false;  // q_proj, k_proj and v_proj have biases (Qwen2; Llama and Qwen3 with attention_bias)
  bool out_bias = false;  // o_proj has one (Llama and Qwen3 with attention_bias)
  bool qk_norm = false;   // self_attn.q_norm and k_norm, [head_dim] (Qwen3)
  double rms_norm_eps = 1e-6;
  bool tie_embeddings = false;
  Token bos_token = -1;  // −1: none
  Token pad_token = 0;
  std::vector<Token> eos_tokens;  // any of them ends a sequence

  bool operator==(const ModelConfig&) const = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(family, vocab_size, hidden_size, n_layers, n_heads, n_kv_heads, head_dim, intermediate_size, max_positions,
            rope_theta, rope_scaling, qkv_bias, out_bias, qk_norm, rms_norm_eps, tie_embeddings, bos_token, pad_token,
            eos_tokens);
  }
};

// The family and the parts that come with it: qkv_bias, out_bias, qk_norm. attention_bias: Llama's and Qwen3's key of
// that name.
void set_family(ModelConfig& config, ModelFamily family, bool attention_bias = false);

// Throws bad_input, naming the field, when the shape cannot be a model (heads not divisible by kv heads, odd head_dim,
// …) or is none of its family.
void check_model_config(const ModelConfig& config);

// config.json, both ways. from_json reads what transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters) write
// and names an unsupported architecture or feature; to_json writes what both read. `type`: of the weights beside it.
std::string model_config_to_json(const ModelConfig& config, DType type = DType::kF32);
ModelConfig model_config_from_json(const std::string& text, const std::string& file_name);

// [model] of a run's config: the shape of a model made from nothing, or where to load one.
struct ModelParams {
  std::string path;  // Hugging Face folder to start from; "": fresh weights
  ModelFamily family = ModelFamily::kLlama;
  int64_t hidden_size = 64;
  int64_t n_layers = 3;
  int64_t n_heads = 4;
  int64_t n_kv_heads = 4;
  int64_t head_dim = 0;  // 0: hidden_size / n_heads
  int64_t intermediate_size = 160;
  bool tie_embeddings = false;
  int64_t max_positions = 512;
  double rope_theta = 10000.0;

  void describe(ConfigVisitor& v);
};
// The shape of a fresh model; its vocabulary and special tokens are the caller's to add, and to check.
ModelConfig fresh_model_config(const ModelParams& params);

}  // namespace deepsearch
