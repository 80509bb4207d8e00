// What rollouts have in common wherever they begin (search/rollouts.h, search/branch_rollouts.h): the requests for
// their steps, and the judging of what comes back. See search/episode.h for the call order.
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

class RolloutEpisode : public Episode {
 public:
  RolloutEpisode(const RolloutEpisode&) = delete;
  RolloutEpisode& operator=(const RolloutEpisode&) = delete;

  uint64_t handle() const override { return handle_; }
  std::optional<ExpansionRequest> next_request() override;
  void apply(Expansion expansion) override;
  bool done() const override { return stop_ != StopReason::kRunning; }
  void cancel() override;

 protected:
  // Uses max_depth, step_tokens, the entropy keys, incomplete_reward, temperature and top_p of `params`; siblings are
  // independent samples whatever distinct_children says. bad_input unless 1 ≤ n ≤ 65536.
  RolloutEpisode(RecordKind kind, Problem problem, const TreeKey& key, int64_t n, const SearchParams& params,
                 const Verifier& verifier, uint64_t seed, uint64_t handle);

  // The node that all n rollouts begin at; every other one has a single child.
  virtual int32_t start() const = 0;
  virtual void ended(int32_t leaf) = 0;  // a rollout's last node
  virtual void all_ended() = 0;          // nothing is waited for: sets stop_, or puts more into waiting_

  // A record without recorded trajectories, and the numbers that its nodes got: see NodeStore::write.
  struct Draft {
    TreeRecord record;
    std::vector<int32_t> number;
  };
  Draft begin_record(int32_t iterations, const std::vector<int32_t>& order);
  void add_trajectory(Draft& draft, int32_t leaf) const;
  TreeRecord end_record(Draft draft) const;
  void back_up(int32_t leaf);  // its reward, along its path

  const int32_t n_;
  NodeStore& nodes() { return nodes_; }
  const NodeStore& nodes() const { return nodes_; }
  std::deque<int32_t> waiting_;  // nodes to request an expansion of
  StopReason stop_ = StopReason::kRunning;

 private:
  struct Running {
    int32_t node = 0;  // being expanded
    int32_t first_child = 0;
    int32_t n_children = 0;
  };
  void take_child(int32_t id, int32_t parent, Step step, int32_t rank);

  const RecordKind kind_;
  Problem problem_;
  const TreeKey key_;
  const SearchParams params_;
  const Verifier& verifier_;
  const uint64_t handle_;
  NodeStore nodes_;
  std::vector<Running> running_;  // requested, not yet come
  int64_t tokens_generated_ = 0;
  int64_t tokens_prefilled_ = 0;
};

}  // namespace deepsearch
