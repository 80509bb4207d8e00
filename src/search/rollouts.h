// Rollouts: n independent responses to one problem, sampled from the prompt to their end, step by step so that an
// episode ends early where the step check calls it dead or solved. A tree that only branches at its root; its record
// is of kind kRollouts. See search/episode.h for the call order; up to n requests are in flight.
#pragma once

#include <cstdint>
#include <vector>

#include "data/problem.h"
#include "data/tree_record.h"
#include "search/params.h"
#include "search/rollout_episode.h"
#include "verify/verifier.h"

namespace deepsearch {

class Rollouts : public RolloutEpisode {
 public:
  // As RolloutEpisode. `verifier` must outlive it.
  Rollouts(Problem problem, const TreeKey& key, int64_t n, const SearchParams& params, const Verifier& verifier,
           uint64_t seed, uint64_t handle);

  // Nodes are numbered level by level, rollouts in order, whatever order they were sampled in. All rollouts that
  // ended are recorded in their order; q is the rollout's reward along its chain (the root: their sum), N is 1 (the
  // root: their number).
  TreeRecord finish() override;

 private:
  int32_t start() const override { return 0; }
  void ended(int32_t leaf) override;
  void all_ended() override { stop_ = StopReason::kEnough; }

  std::vector<int32_t> leaves_;  // by rollout; −1 while it runs
};

}  // namespace deepsearch
