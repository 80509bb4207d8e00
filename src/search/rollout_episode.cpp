#include "search/rollout_episode.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "search/judge.h"

namespace deepsearch {

namespace {

SearchParams independent(SearchParams params) {
  params.distinct_children = false;
  return params;
}

int32_t checked_count(int64_t n) {
  if (n < 1 || n > 65536) bad_input("{} rollouts asked for; 1 to 65536 can be made", n);
  return static_cast<int32_t>(n);
}

}  // namespace

RolloutEpisode::RolloutEpisode(RecordKind kind, Problem problem, const TreeKey& key, int64_t n,
                               const SearchParams& params, const Verifier& verifier, uint64_t seed, uint64_t handle)
    : n_(checked_count(n)),
      kind_(kind),
      problem_(std::move(problem)),
      key_(key),
      params_(independent(params)),
      verifier_(verifier),
      handle_(handle),
      nodes_(params_, tree_hash(seed, kind, key), problem_.prompt_tokens) {
  check(params_);
}

std::optional<ExpansionRequest> RolloutEpisode::next_request() {
  if (done() || waiting_.empty()) return std::nullopt;
  const int32_t node = waiting_.front();
  waiting_.pop_front();
  const int32_t n_children = node == start() ? n_ : 1;
  ExpansionRequest request = nodes_.request(handle_, node, n_children);
  running_.push_back({.node = node, .first_child = request.first_child, .n_children = n_children});
  return request;
}

void RolloutEpisode::apply(Expansion expansion) {
  if (done()) return;
  const auto place = std::find_if(running_.begin(), running_.end(),
                                  [&](const Running& running) { return running.node == expansion.node; });
  if (expansion.tree != handle_ || place == running_.end()) {
    failure("rollouts {}: an expansion of node {} of tree {} came that was not asked for", handle_, expansion.node,
            expansion.tree);
  }
  nodes_.check(expansion, place->n_children);
  const int32_t first_child = place->first_child;
  running_.erase(place);
  tokens_generated_ += expansion.tokens_generated;
  tokens_prefilled_ += expansion.tokens_prefilled;
  nodes_[expansion.node].expanded = nodes_[expansion.node].depth;
  for (size_t i = 0; i < expansion.children.size(); ++i) {
    take_child(first_child + static_cast<int32_t>(i), expansion.node, std::move(expansion.children[i]),
               expansion.made_by_rank);
  }
  if (running_.empty() && waiting_.empty()) all_ended();
}

void RolloutEpisode::take_child(int32_t id, int32_t parent, Step step, int32_t rank) {
  Node& node = nodes_.fill(id, parent, std::move(step));
  node.created = node.depth - 1;
  node.made_by_rank = rank;
  judge_node(nodes_, id, verifier_, problem_, params_);
  if (node.terminal) {
    ended(id);
  } else {
    waiting_.push_back(id);
  }
}

void RolloutEpisode::cancel() {
  if (!done()) stop_ = StopReason::kCancelled;
}

void RolloutEpisode::back_up(int32_t leaf) {
  const double reward = nodes_[leaf].reward;
  for (const int32_t id : nodes_.path(leaf)) {
    ++nodes_[id].visits;
    nodes_[id].q += reward;
  }
}

RolloutEpisode::Draft RolloutEpisode::begin_record(int32_t iterations, const std::vector<int32_t>& order) {
  Draft draft;
  draft.record.kind = kind_;
  draft.record.key = key_;
  draft.record.problem = std::move(problem_);
  draft.record.stop_reason = stop_;
  draft.record.iterations = iterations;
  draft.record.tokens_generated = tokens_generated_;
  draft.record.tokens_prefilled = tokens_prefilled_;
  draft.number = nodes_.write(order, draft.record);
  return draft;
}

void RolloutEpisode::add_trajectory(Draft& draft, int32_t leaf) const {
  const Node& node = nodes_[leaf];
  draft.record.recorded.push_back({.leaf = draft.number[static_cast<size_t>(leaf)],
                                   .reward = node.reward,
                                   .entropy = node.trajectory_entropy(),
                                   .outcome = node.outcome,
                                   .leftover = false});
}

TreeRecord RolloutEpisode::end_record(Draft draft) const {
  draft.record.events.push_back({draft.record.iterations, EventKind::kStop, -1, static_cast<double>(stop_)});
  return std::move(draft.record);
}

}  // namespace deepsearch
