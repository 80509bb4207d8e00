// Rotary position embedding's angles, in fp32 exactly as transformers' LlamaRotaryEmbedding computes them, so that
// every implementation here turns queries and keys by the same bits. No LibTorch.
#pragma once

#include <cstdint>
#include <vector>

#include "model/model_config.h"

namespace deepsearch {

// Row-major [max_positions, head_dim/2]: cosine and sine of position · theta^(−2i/head_dim).
struct RopeTable {
  int64_t n_positions = 0;
  int64_t half_dim = 0;
  std::vector<float> cosines;
  std::vector<float> sines;
};
RopeTable make_rope_table(const ModelConfig& config);

}  // namespace deepsearch
