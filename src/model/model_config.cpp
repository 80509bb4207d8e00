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

void check_range(const char* field, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) bad_input("model: {} is {}; it must be {} to {}", field, value, low, high);
}

}  // namespace

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
  if (config.hidden_size % config.n_heads != 0) {
    bad_input("model: hidden_size is {} and n_heads {}; transformers opens only multiples (head_dim may differ)",
              config.hidden_size, config.n_heads);
  }
  if (config.head_dim % 2 != 0) {
    bad_input("model: head_dim is {}; rotary positions turn pairs of numbers, so it must be even", config.head_dim);
  }
  // Negated, so that a NaN is refused too.
  if (!(config.rope_theta >= 1.0 && config.rope_theta <= 1e12)) {
    bad_input("model: rope_theta is {}; it must be 1 to 1e12", config.rope_theta);
  }
  if (!(config.rms_norm_eps > 0.0 && config.rms_norm_eps <= 0.1)) {
    bad_input("model: rms_norm_eps is {}; it must be above 0 and at most 0.1", config.rms_norm_eps);
  }
  check_range("bos_token", config.bos_token, -1, config.vocab_size - 1);
  check_range("pad_token", config.pad_token, 0, config.vocab_size - 1);
  for (const Token token : config.eos_tokens) check_range("eos_tokens", token, 0, config.vocab_size - 1);
}

void ModelParams::describe(ConfigVisitor& v) {
  v.field({.key = "path", .unit = "", .meaning = "Hugging Face folder to start from; empty: fresh weights"}, path);
  v.field({.key = "hidden_size",
           .unit = "numbers",
           .meaning = "width of a fresh model's residual stream; a multiple of 2*n_heads",
           .min = 2,
           .max = kMaxHidden},
          hidden_size);
  v.field(
      {.key = "n_layers", .unit = "layers", .meaning = "decoder layers of a fresh model", .min = 1, .max = kMaxLayers},
      n_layers);
  v.field({.key = "n_heads",
           .unit = "heads",
           .meaning = "attention heads of a fresh model; a head is hidden_size/n_heads numbers wide",
           .min = 1,
           .max = kMaxHeads},
          n_heads);
  v.field(
      {.key = "n_kv_heads",
       .unit = "heads",
       .meaning = "key-value heads of a fresh model (grouped-query attention when fewer than n_heads); divides n_heads",
       .min = 1,
       .max = kMaxHeads},
      n_kv_heads);
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
}

}  // namespace deepsearch
