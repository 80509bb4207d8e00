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

// Rows of one random tree: each goes on from a random place of an earlier one, over few tokens so that beginnings agree
// by chance too; some are equal. Tokens that are shared have the same behaviour log-prob, most the same advantage.
inline std::vector<Row> sample_tree_rows(int n, uint64_t seed) {
  RandomStream random(seed, RngPurpose::kTests, 2);
  std::vector<Row> rows;
  for (int r = 0; r < n; ++r) {
    Row row;
    if (r == 0) {
      row.n_prompt = random.between(1, 4);
      for (int64_t i = 0; i < row.n_prompt; ++i) row.tokens.push_back(static_cast<Token>(random.below(5)));
    } else {
      const Row& before = rows[random.below(static_cast<uint64_t>(r))];
      row.n_prompt = before.n_prompt;
      const auto keep = static_cast<size_t>(random.between(0, before.n_response()));
      row.tokens.assign(before.tokens.begin(), before.tokens.begin() + row.n_prompt + static_cast<int64_t>(keep));
      row.advantages.assign(before.advantages.begin(), before.advantages.begin() + static_cast<int64_t>(keep));
      row.behaviour.assign(before.behaviour.begin(), before.behaviour.begin() + static_cast<int64_t>(keep));
      if (keep > 0 && random.below(3) == 0) row.advantages.back() = static_cast<float>(random.normal());
    }
    const int64_t more = random.between(row.n_response() == 0 ? 1 : 0, 8);
    for (int64_t i = 0; i < more; ++i) {
      row.tokens.push_back(static_cast<Token>(random.below(5)));
      row.advantages.push_back(static_cast<float>(random.normal()));
      row.behaviour.push_back(static_cast<float>(-3.1 + 0.3 * random.normal()));
    }
    rows.push_back(row);
  }
  return rows;
}

}  // namespace deepsearch
