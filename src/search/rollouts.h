// Rollouts: n independent responses to one problem, sampled from the prompt to their end, step by step so that an
// episode ends early where the step check calls it dead or solved. A tree that only branches at its root; its record
// is of kind kRollouts. See search/episode.h for the call order; up to n requests are in flight.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "data/problem.h"
#include "data/tree_record.h"
#include "search/episode.h"
#include "search/node_store.h"
#include "search/params.h"
#include "verify/verifier.h"

namespace deepsearch {

class Rollouts : public Episode {
 public:
  // Uses max_depth, step_tokens, the entropy keys, incomplete_reward, temperature and top_p of `params`; siblings are
  // independent samples whatever distinct_children says. `verifier` must outlive it.
  Rollouts(Problem problem, const TreeKey& key, int64_t n, const SearchParams& params, const Verifier& verifier,
           uint64_t seed, uint64_t handle);
  Rollouts(const Rollouts&) = delete;
  Rollouts& operator=(const Rollouts&) = delete;

  uint64_t handle() const override { return handle_; }
  std::optional<ExpansionRequest> next_request() override;
  void apply(Expansion expansion) override;
  bool done() const override { return stop_ != StopReason::kRunning; }
  void cancel() override;
  // Nodes are numbered level by level, rollouts in order, whatever order they were sampled in. All rollouts that
  // ended are recorded in their order; q is the rollout's reward along its chain (the root: their sum), N is 1 (the
  // root: their number).
  TreeRecord finish() override;

 private:
  struct Running {
    int32_t node = 0;  // being expanded
    int32_t first_child = 0;
    int32_t n_children = 0;
  };

  void take_child(int32_t id, int32_t parent, Step step, int32_t rank);
  void back_up_all();

  Problem problem_;
  const TreeKey key_;
  const int32_t n_;
  const SearchParams params_;
  const Verifier& verifier_;
  const uint64_t handle_;

  NodeStore nodes_;
  std::deque<int32_t> waiting_;   // nodes to request an expansion of
  std::vector<Running> running_;  // requested, not yet come
  std::vector<int32_t> leaves_;   // by rollout; −1 while it runs
  StopReason stop_ = StopReason::kRunning;
  int64_t tokens_generated_ = 0;
  int64_t tokens_prefilled_ = 0;
};

}  // namespace deepsearch
