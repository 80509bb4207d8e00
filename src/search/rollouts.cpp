#include "search/rollouts.h"

#include <algorithm>
#include <tuple>

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

Rollouts::Rollouts(Problem problem, const TreeKey& key, int64_t n, const SearchParams& params, const Verifier& verifier,
                   uint64_t seed, uint64_t handle)
    : problem_(std::move(problem)),
      key_(key),
      n_(checked_count(n)),
      params_(independent(params)),
      verifier_(verifier),
      handle_(handle),
      nodes_(params_, tree_hash(seed, RecordKind::kRollouts, key), problem_.prompt_tokens),
      waiting_{0},
      leaves_(static_cast<size_t>(n_), -1) {
  check(params_);
}

std::optional<ExpansionRequest> Rollouts::next_request() {
  if (done() || waiting_.empty()) return std::nullopt;
  const int32_t node = waiting_.front();
  waiting_.pop_front();
  const int32_t n_children = node == 0 ? n_ : 1;
  ExpansionRequest request = nodes_.request(handle_, node, n_children);
  running_.push_back({.node = node, .first_child = request.first_child, .n_children = n_children});
  return request;
}

void Rollouts::apply(Expansion expansion) {
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
  if (running_.empty() && waiting_.empty()) {
    stop_ = StopReason::kEnough;
    back_up_all();
  }
}

void Rollouts::take_child(int32_t id, int32_t parent, Step step, int32_t rank) {
  Node& node = nodes_.fill(id, parent, std::move(step));
  node.created = node.depth - 1;
  node.made_by_rank = rank;
  const std::vector<Token> response = nodes_.response(id);
  const Judgement judgement = judge(verifier_, problem_, params_, response, node.step.finish, node.depth);
  node.terminal = judgement.terminal;
  node.dead = judgement.dead;
  node.outcome = judgement.outcome;
  node.reward = judgement.reward;
  if (!node.terminal) {
    waiting_.push_back(id);
    return;
  }
  int32_t first = id;
  while (nodes_[first].depth > 1) first = nodes_[first].parent;
  leaves_[static_cast<size_t>(nodes_[first].child_index)] = id;
}

void Rollouts::cancel() {
  if (done()) return;
  stop_ = StopReason::kCancelled;
  back_up_all();
}

// In the order of the rollouts, so that sums do not depend on which ended first.
void Rollouts::back_up_all() {
  for (const int32_t leaf : leaves_) {
    if (leaf < 0) continue;
    const double reward = nodes_[leaf].reward;
    for (const int32_t id : nodes_.path(leaf)) {
      ++nodes_[id].visits;
      nodes_[id].q += reward;
    }
  }
}

TreeRecord Rollouts::finish() {
  if (!done()) failure("rollouts {}: finished before they were done", handle_);
  std::vector<int32_t> rollout(static_cast<size_t>(nodes_.size()), -1);
  std::vector<int32_t> order = nodes_.creation_order();
  int32_t deepest = 0;
  for (const int32_t id : order) {
    const Node& node = nodes_[id];
    deepest = std::max(deepest, node.depth);
    if (id != 0)
      rollout[static_cast<size_t>(id)] = node.depth == 1 ? node.child_index : rollout[static_cast<size_t>(node.parent)];
  }
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return std::tie(nodes_[a].depth, rollout[static_cast<size_t>(a)]) <
           std::tie(nodes_[b].depth, rollout[static_cast<size_t>(b)]);
  });
  TreeRecord record;
  record.kind = RecordKind::kRollouts;
  record.key = key_;
  record.problem = std::move(problem_);
  record.stop_reason = stop_;
  record.iterations = deepest;
  record.tokens_generated = tokens_generated_;
  record.tokens_prefilled = tokens_prefilled_;
  const std::vector<int32_t> number = nodes_.write(order, record);
  for (const int32_t leaf : leaves_) {
    if (leaf < 0) continue;
    const Node& node = nodes_[leaf];
    record.recorded.push_back({.leaf = number[static_cast<size_t>(leaf)],
                               .reward = node.reward,
                               .entropy = node.trajectory_entropy(),
                               .outcome = node.outcome,
                               .leftover = false});
  }
  record.events.push_back({deepest, EventKind::kStop, -1, static_cast<double>(stop_)});
  return record;
}

}  // namespace deepsearch
