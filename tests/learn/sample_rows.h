// A small model and a batch of rows that looks like training: random tokens, lengths, advantages, behaviour.
#pragma once

#include <vector>

#include "core/rng.h"
#include "learn/rows.h"
#include "model/weights.h"

namespace deepsearch {

inline ModelConfig small_model() {
  ModelConfig config;
  config.vocab_size = 23;
  config.hidden_size = 16;
  config.n_layers = 2;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.head_dim = 4;
  config.intermediate_size = 24;
  config.max_positions = 64;
  config.eos_tokens = {1};
  return config;
}

inline std::vector<Row> sample_rows(int n, uint64_t seed) {
  RandomStream random(seed, RngPurpose::kTests, 1);
  std::vector<Row> rows;
  for (int r = 0; r < n; ++r) {
    Row row;
    row.n_prompt = random.between(1, 6);
    const int64_t response = random.between(1, 20);
    for (int64_t i = 0; i < row.n_prompt + response; ++i) row.tokens.push_back(static_cast<Token>(random.below(23)));
    for (int64_t i = 0; i < response; ++i) {
      row.advantages.push_back(static_cast<float>(random.normal()));
      row.behaviour.push_back(static_cast<float>(-3.1 + 0.3 * random.normal()));
    }
    rows.push_back(row);
  }
  return rows;
}

}  // namespace deepsearch
