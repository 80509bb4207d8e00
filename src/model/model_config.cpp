#include "model/model_config.h"

#include "core/error.h"

namespace deepsearch {

namespace {

// Generous limits that keep every product of two of them, times the layers, inside 64 bits: a config.json is only text,
// and what it says is multiplied before anything is allocated.
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxHidden = int64_t{1} << 17;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 4096;
constexpr int64_t kMaxIntermediate = int64_t{1} << 20;
constexpr int64_t kMaxPositions = int64_t{1} << 24;
constexpr double kMaxTheta = 1e12;
constexpr double kMaxScaling = 1e6;

void check_range(const char* field, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) bad_input("model: {} is {}; it must be {} to {}", field, value, low, high);
}

// Negated, so that a NaN is refused too.
void check_number(const char* field, double value, double low, double high) {
  if (!(value >= low && value <= high)) bad_input("model: {} is {}; it must be {} to {}", field, value, low, high);
}

void check_rope(const ModelConfig& config) {
  check_number("rope_theta", config.rope_theta, 1.0, kMaxTheta);
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.kind == RopeScaling::Kind::kNone) return;
  check_number("rope scaling: factor", scaling.factor, 1.0, kMaxScaling);
  if (scaling.kind == RopeScaling::Kind::kLinear) return;
  check_range("rope scaling: original_max_position_embeddings", scaling.original_max_positions, 1, kMaxPositions);
  if (scaling.kind == RopeScaling::Kind::kLlama3) {
    check_number("rope scaling: low_freq_factor", scaling.low_freq_factor, 1 / kMaxScaling, kMaxScaling);
    check_number("rope scaling: high_freq_factor", scaling.high_freq_factor, 1 / kMaxScaling, kMaxScaling);
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
      bad_input("model: rope scaling: high_freq_factor is {}; it must be above low_freq_factor, {}",
                scaling.high_freq_factor, scaling.low_freq_factor);
    }
    return;
  }
  check_number("rope scaling: beta_slow", scaling.beta_slow, 1 / kMaxScaling, kMaxScaling);
  check_number("rope scaling: beta_fast", scaling.beta_fast, scaling.beta_slow, kMaxScaling);
  check_number("rope scaling: attention_factor", scaling.attention_factor, 0.0, kMaxScaling);
  // The dimensions are found with logarithms to that base.
  if (config.rope_theta == 1.0) bad_input("model: rope_theta is 1; with yarn scaling it must be above 1");
}

void check_family(const ModelConfig& config) {
  ModelConfig expected = config;
  set_family(expected, config.family, config.out_bias);
  if (config != expected) {
    bad_input("model: qkv_bias {}, out_bias {} and qk_norm {} are no {} model", config.qkv_bias, config.out_bias,
              config.qk_norm, family_name(config.family));
  }
}

}  // namespace

const char* family_name(ModelFamily family) {
  switch (family) {
    case ModelFamily::kLlama:
      return "llama";
    case ModelFamily::kQwen2:
      return "qwen2";
    case ModelFamily::kQwen3:
      return "qwen3";
  }
  failure("no name for model family {}", static_cast<int>(family));
}

void set_family(ModelConfig& config, ModelFamily family, bool attention_bias) {
  config.family = family;
  config.qkv_bias = family == ModelFamily::kQwen2 || attention_bias;
  config.out_bias = family != ModelFamily::kQwen2 && attention_bias;
  config.qk_norm = family == ModelFamily::kQwen3;
}

void check_model_config(const ModelConfig& config) {
  check_range("vocab_size", config.vocab_size, 1, kMaxVocab);
  check_range("hidden_size", config.hidden_size, 1, kMaxHidden);
  check_range("n_layers", config.n_layers, 1, kMaxLayers);
  check_range("n_heads", config.n_heads, 1, kMaxHeads);
  check_range("n_kv_heads", config.n_kv_heads, 1, config.n_heads);
  check_range("head_dim", config.head_dim, 2, kMaxHeadDim);
  check_range("intermediate_size", config.intermediate_size, 1, kMaxIntermediate);
  check_range("max_positions", config.max_positions, 1, kMaxPositions);
  if (config.n_heads % config.n_kv_heads != 0) {
    bad_input("model: n_heads is {} and n_kv_heads {}; heads must be a multiple of key-value heads", config.n_heads,
              config.n_kv_heads);
  }
  if (config.family == ModelFamily::kLlama && config.hidden_size % config.n_heads != 0) {
    bad_input("model: hidden_size is {} and n_heads {}; transformers opens only multiples (head_dim may differ)",
              config.hidden_size, config.n_heads);
  }
  if (config.head_dim % 2 != 0) {
    bad_input("model: head_dim is {}; rotary positions turn pairs of numbers, so it must be even", config.head_dim);
  }
  check_rope(config);
  check_family(config);
  if (!(config.rms_norm_eps > 0.0 && config.rms_norm_eps <= 0.1)) {
    bad_input("model: rms_norm_eps is {}; it must be above 0 and at most 0.1", config.rms_norm_eps);
  }
  check_range("bos_token", config.bos_token, -1, config.vocab_size - 1);
  check_range("pad_token", config.pad_token, 0, config.vocab_size - 1);
  for (const Token token : config.eos_tokens) check_range("eos_tokens", token, 0, config.vocab_size - 1);
}

void ModelParams::describe(ConfigVisitor& v) {
  v.field({.key = "path",
           .unit = "",
           .meaning = "Hugging Face folder to start from; empty: fresh weights",
           .decides = kTrainingResult | kFilterResult},
          path);
  v.choice(
      {.key = "family",
       .unit = "",
       .meaning = "kind of a fresh model: \"qwen2\" has biases in its queries, keys and values, \"qwen3\" normalises "
                  "each head of queries and keys"},
      family, {{"llama", ModelFamily::kLlama}, {"qwen2", ModelFamily::kQwen2}, {"qwen3", ModelFamily::kQwen3}});
  v.field({.key = "hidden_size",
           .unit = "numbers",
           .meaning = "width of a fresh model's residual stream; a multiple of n_heads",
           .min = 2,
           .max = kMaxHidden},
          hidden_size);
  v.field(
      {.key = "n_layers", .unit = "layers", .meaning = "decoder layers of a fresh model", .min = 1, .max = kMaxLayers},
      n_layers);
  v.field(
      {.key = "n_heads", .unit = "heads", .meaning = "attention heads of a fresh model", .min = 1, .max = kMaxHeads},
      n_heads);
  v.field(
      {.key = "n_kv_heads",
       .unit = "heads",
       .meaning = "key-value heads of a fresh model (grouped-query attention when fewer than n_heads); divides n_heads",
       .min = 1,
       .max = kMaxHeads},
      n_kv_heads);
  v.field({.key = "head_dim",
           .unit = "numbers",
           .meaning = "width of a fresh model's attention head, even; 0: hidden_size/n_heads",
           .min = 0,
           .max = kMaxHeadDim},
          head_dim);
  v.field({.key = "intermediate_size",
           .unit = "numbers",
           .meaning = "inner width of a fresh model's SwiGLU",
           .min = 1,
           .max = kMaxIntermediate},
          intermediate_size);
  v.field({.key = "tie_embeddings",
           .unit = "",
           .meaning = "a fresh model's output head is its input embedding instead of a matrix of its own"},
          tie_embeddings);
  v.field({.key = "max_positions",
           .unit = "tokens",
           .meaning = "longest prompt plus response of a fresh model",
           .min = 1,
           .max = kMaxPositions},
          max_positions);
  v.field({.key = "rope_theta",
           .unit = "",
           .meaning = "base of a fresh model's rotary positions: the longest wave is about 2*pi*rope_theta tokens",
           .min = 1,
           .max = kMaxTheta},
          rope_theta);
}

ModelConfig fresh_model_config(const ModelParams& params) {
  if (params.hidden_size % params.n_heads != 0) {
    bad_input("[model].hidden_size is {}, which is no multiple of [model].n_heads, {}", params.hidden_size,
              params.n_heads);
  }
  ModelConfig config;
  set_family(config, params.family);
  config.hidden_size = params.hidden_size;
  config.n_layers = params.n_layers;
  config.n_heads = params.n_heads;
  config.n_kv_heads = params.n_kv_heads;
  config.head_dim = params.head_dim > 0 ? params.head_dim : params.hidden_size / params.n_heads;
  config.intermediate_size = params.intermediate_size;
  config.max_positions = params.max_positions;
  config.rope_theta = params.rope_theta;
  config.tie_embeddings = params.tie_embeddings;
  return config;
}

}  // namespace deepsearch
