// The engine's log-probs against those of the learner's network on the same tokens. Both see the same weights; what is
// left is the difference of two ways to compute, which importance ratios start from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/tokens.h"
#include "engine/params.h"

namespace deepsearch {

struct Comparison {
  std::string engine;  // its description
  int64_t tokens = 0;
  double largest = 0;  // of |log p_engine − log p_learner|, nats
  double mean = 0;     // of the same
  double bias = 0;     // mean of log p_engine − log p_learner
};

// Lines {"tokens": [...]}; bad_input as json_lines.h.
std::vector<std::vector<Token>> read_texts(const std::filesystem::path& path);

// The learner's network runs in fp32 on the CPU. Without texts the engine samples `n_texts` of them of `length` tokens
// from random prompts of 8 tokens.
Comparison compare_with_learner(const std::filesystem::path& model, const EngineParams& params,
                                const std::vector<std::vector<Token>>& texts, int64_t n_texts, int64_t length,
                                uint64_t seed);

}  // namespace deepsearch
