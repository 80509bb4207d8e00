// A replay group: direct rollouts whose first places are taken by cached solutions, as one record. Pure.
#pragma once

#include <vector>

#include "data/tree_record.h"
#include "search/params.h"

namespace deepsearch {

// A cached solution with what the current policy gives its tokens.
struct ScoredSolution {
  std::vector<Token> tokens;
  std::vector<float> logprobs;   // nats, beside tokens
  std::vector<float> entropies;  // beside tokens
};

// `rollouts`: the group that was sampled, with key and problem set; without a node where the cached solutions fill all
// places. Each solution becomes a chain of nodes of `step_tokens` tokens below the root, before the sampled ones, and
// is recorded before them as correct. Its tokens count as made by `version`, since their log-probs are.
TreeRecord make_replay_group(TreeRecord rollouts, const std::vector<ScoredSolution>& cached, const SearchParams& params,
                             int64_t version);

// Tokens of recorded trajectories that came from the cache.
int64_t cached_tokens(const TreeRecord& record);

}  // namespace deepsearch
