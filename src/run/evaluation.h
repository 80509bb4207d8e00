// Held-out accuracy from groups of plain rollouts. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "data/tree_record.h"

namespace deepsearch {

struct Evaluation {
  int64_t problems = 0;
  int64_t samples = 0;   // per problem
  double pass_at_1 = 0;  // mean over problems of the fraction of correct samples
  double pass_at_k = 0;  // unbiased, k = samples unless asked for less
  int64_t k = 0;
  double reward_mean = 0;
  double response_tokens_mean = 0;
  double truncated_fraction = 0;  // samples that were cut off without an answer
  double entropy_mean = 0;        // nats per token
};

// 1 − C(n − c, k)/C(n, k), the unbiased estimate from c correct of n samples (Chen et al. 2021). k ≤ n.
double pass_at_k(int64_t n, int64_t correct, int64_t k);

Evaluation evaluate(const std::vector<TreeRecord>& groups, int64_t k);

}  // namespace deepsearch
