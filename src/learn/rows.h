// From finished trees to training rows. Pure: no LibTorch. A row is one trajectory; packing.h lays rows out for the
// network so that what they share is computed once.
#pragma once

#include <cstdint>
#include <vector>

#include "data/tree_record.h"
#include "search/credit.h"

namespace deepsearch {

struct Row {
  std::vector<Token> tokens;  // prompt, then response
  int64_t n_prompt = 0;       // with the response's given beginning, where there is one (NodeRecord::given)
  // Beside the response's tokens:
  std::vector<float> advantages;
  std::vector<float> behaviour;   // log-probs under the policy that sampled them, nats
  std::vector<int32_t> versions;  // that sampled them; empty: not known, counts as current
  TreeKey key;                    // the tree it comes from, for messages
  int64_t n_response() const { return static_cast<int64_t>(tokens.size()) - n_prompt; }
};

// A row without credit, for supervised training.
Row supervised_row(std::vector<Token> tokens, int64_t n_prompt);

// The recorded trajectories of a tree (or all its terminals, by CreditParams::terminals) with their advantages, cut to
// the tokens that enter the loss (TrajectoryCredit::trained_tokens); those without any are left out. May be empty.
std::vector<Row> rows_of(const TreeRecord& tree, const CreditParams& credit);

}  // namespace deepsearch
