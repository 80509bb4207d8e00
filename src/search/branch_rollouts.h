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
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "data/problem.h"
#include "data/step.h"
#include "data/tree_record.h"
#include "search/episode.h"
#include "search/node_store.h"
#include "search/params.h"
#include "verify/verifier.h"

namespace deepsearch {

// The steps of a record's trajectory.
std::vector<Step> steps_of(const TreeRecord& record, int32_t leaf);

class BranchRollouts : public Episode {
 public:
  // `way`: the steps of a solution, at least one; `n` rollouts a group. Of `params` what Rollouts use. `verifier` must
  // outlive it.
  BranchRollouts(Problem problem, const TreeKey& key, std::vector<Step> way, int64_t n, const SearchParams& params,
                 const Verifier& verifier, uint64_t seed, uint64_t handle);
  BranchRollouts(const BranchRollouts&) = delete;
  BranchRollouts& operator=(const BranchRollouts&) = delete;

  uint64_t handle() const override { return handle_; }
  std::optional<ExpansionRequest> next_request() override;
  void apply(Expansion expansion) override;
  bool done() const override { return stop_ != StopReason::kRunning; }
  void cancel() override { stop_ = done() ? stop_ : StopReason::kCancelled; }
  TreeRecord finish() override;

 private:
  struct Running {
    int32_t node = 0;
    int32_t first_child = 0;
    int32_t n_children = 0;
  };

  void begin_group(int32_t place);
  void end_group();
  void take_child(int32_t id, int32_t parent, Step step, int32_t rank);
  std::vector<int32_t> in_depth_first_order() const;
  void back_up(const std::vector<int32_t>& order);

  Problem problem_;
  const TreeKey key_;
  const int32_t n_;
  const SearchParams params_;
  const Verifier& verifier_;
  const uint64_t handle_;

  NodeStore nodes_;
  std::vector<int32_t> trunk_;  // node of each depth on the solution's way, the root first
  int32_t low_ = 0;             // depth from which all fail
  int32_t high_ = 0;            // depth from which all succeed
  int32_t place_ = 0;           // depth of the group that is being sampled
  std::deque<int32_t> waiting_;
  std::vector<Running> running_;
  std::map<int32_t, std::vector<int32_t>> leaves_;  // of each group, by depth; −1 while a rollout runs
  StopReason stop_ = StopReason::kRunning;
  int64_t tokens_generated_ = 0;
  int64_t tokens_prefilled_ = 0;
};

}  // namespace deepsearch
