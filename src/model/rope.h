// Rotary position embedding's angles, in fp32 and operation by operation as transformers computes them
// (modeling_rope_utils.py), so that every implementation here turns queries and keys by the same bits. No LibTorch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model_config.h"

namespace deepsearch {

// The angle of pair i at position p is p · inverse[i]; cosines and sines are then multiplied by attention_factor
// (1 but for yarn).
struct RopeFrequencies {
  std::vector<float> inverse;  // [head_dim/2]
  float attention_factor = 1.0F;

  // One position's cosines and sines, each [head_dim/2].
  void row(int64_t position, std::span<float> cosines, std::span<float> sines) const;
};
// `config` as check_model_config allows it.
RopeFrequencies rope_frequencies(const ModelConfig& config);

// Row-major [n_positions, head_dim/2].
struct RopeTable {
  int64_t n_positions = 0;
  int64_t half_dim = 0;
  std::vector<float> cosines;
  std::vector<float> sines;
};
// For positions 0 … n_positions−1.
RopeTable make_rope_table(const ModelConfig& config, int64_t n_positions);

}  // namespace deepsearch
