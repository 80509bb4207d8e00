// BranchRollouts: rollouts from a place on the way of a found solution, where some succeed and some fail. Where no
// rollout from the prompt ever succeeds, groups from there compare like with like, and the place moves towards the
// prompt as the policy learns (a reverse curriculum: Florensa et al. 2017; Salimans and Chen 2018; Xi et al. 2024).
//
// The place is found by bisection over the solution's steps: a group that fails throughout moves it towards the
// solution's end, one that succeeds throughout towards the prompt; the first group that mixes ends the search. Where
// none does, the group before the step that decides stands, and the solution is its one success.
//
// Its record is of kind kBranch: the solution's steps, all groups, and as recorded trajectories the last one. Steps up
// to the place are marked as given, and are trained on as little as the prompt. See search/episode.h for the call
// order.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "data/problem.h"
#include "data/step.h"
#include "data/tree_record.h"
#include "search/params.h"
#include "search/rollout_episode.h"
#include "verify/verifier.h"

namespace deepsearch {

// The steps of a record's trajectory.
std::vector<Step> steps_of(const TreeRecord& record, int32_t leaf);

class BranchRollouts : public RolloutEpisode {
 public:
  // `way`: the steps of a solution, at least one; `n` rollouts a group. `verifier` must outlive it.
  BranchRollouts(Problem problem, const TreeKey& key, std::vector<Step> way, int64_t n, const SearchParams& params,
                 const Verifier& verifier, uint64_t seed, uint64_t handle);

  TreeRecord finish() override;

 private:
  int32_t start() const override { return trunk_[static_cast<size_t>(place_)]; }
  void ended(int32_t leaf) override;
  void all_ended() override;
  void begin_group(int32_t place);
  std::vector<int32_t> in_depth_first_order() const;

  std::vector<int32_t> trunk_ = {0};                // node of each depth on the solution's way, the root first
  int32_t low_ = 0;                                 // depth from which all fail
  int32_t high_ = 0;                                // depth from which all succeed
  int32_t place_ = 0;                               // depth of the group that is being sampled
  std::map<int32_t, std::vector<int32_t>> leaves_;  // of each group, by depth; −1 while a rollout runs
};

}  // namespace deepsearch
