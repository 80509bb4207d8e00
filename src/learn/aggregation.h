// How the losses of single tokens become one number ([learn].loss_aggregation):
//   loss = Σ over rows, Σ over a row's counted tokens: row_weight · token loss, / loss_denominator
// Pure: no LibTorch. All learner ranks hold all rows of a minibatch, so each computes the same denominator without a
// message, and the sum of the ranks' parts is the loss whatever the cut into micro-batches.
//
//                            row_weight    loss_denominator
//   token_mean               1             counted tokens of all rows             DAPO, DeepSearch
//   seq_mean_token_sum       1             rows                                   REINFORCE on sequences
//   seq_mean_token_mean      1/its tokens  rows                                   GRPO
//   seq_mean_token_sum_norm  1             rows · response_budget                 Dr. GRPO (Liu et al. 2025, arXiv
//                                                                                 2503.20783): no length in it
// Where tokens are left out (too old: max_token_age), they are in no weight and no count, and a row of which nothing
// is left is no row.
#pragma once

#include <cstdint>
#include <vector>

#include "learn/params.h"
#include "learn/rows.h"

namespace deepsearch {

// Tokens sampled by older policy versions than this are left out; 0: none. `current` is the learner's version.
int32_t oldest_version(const LearnParams& params, int64_t current);

// Response tokens of a row that enter the loss. A row that does not know its versions counts as current.
int64_t counted_tokens(const Row& row, int32_t oldest);

// What each counted token of the row is multiplied by; 0 for a row without any.
double row_weight(const Row& row, const LearnParams& params, int32_t oldest);

// For the rows of one minibatch; 1 where no token counts, so that a loss of nothing is 0. Throws failure for
// seq_mean_token_sum_norm without a response_budget.
double loss_denominator(const std::vector<Row>& rows, const LearnParams& params, int32_t oldest);

}  // namespace deepsearch
