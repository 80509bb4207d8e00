// What a solution costs: generated tokens until the first one, by independent rollouts and by a tree, on the same
// held-out problems under the same policy. The measure behind `deepsearch bench search`.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "data/task.h"
#include "engine/engine.h"
#include "run/config.h"
#include "verify/verifier.h"

namespace deepsearch {

struct SearchCost {
  int64_t problems = 0;
  int64_t solved = 0;
  int64_t tokens = 0;  // generated, unsolved problems' included
  double seconds = 0;
  // Tokens per solved problem; infinite when none was.
  double tokens_per_solution() const;
};

struct SearchBenchResult {
  SearchCost rollouts;
  SearchCost tree;
  int64_t saved_by_tree = 0;  // problems the tree solved and the rollouts did not
  double ratio() const { return rollouts.tokens_per_solution() / tree.tokens_per_solution(); }
};

// `max_tokens`: what either may spend on a problem before it is given up. Rollouts are counted one after the other up
// to the first correct one, although they are sampled in groups; a tree counts every token it sampled, discarded
// duplicates included. Trees are grown by config.search with stop_when_solved on.
SearchBenchResult bench_search(const Config& config, const Task& task, const Verifier& verifier, Engine& engine,
                               int64_t problems, int64_t max_tokens, const std::function<void(int64_t)>& progress);

// A hash of a few small trees grown with fresh weights: equal hashes mean equal bits.
uint64_t tree_signature(const Config& config, const Task& task, const Verifier& verifier, Engine& engine,
                        int64_t trees);

}  // namespace deepsearch
