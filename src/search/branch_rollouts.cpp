#include "search/branch_rollouts.h"

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

template <class T>
std::vector<T> piece(const std::vector<T>& values, const NodeRecord& node) {
  if (values.empty()) return {};
  const auto first = values.begin() + node.first_token;
  return {first, first + node.n_tokens};
}

}  // namespace

std::vector<Step> steps_of(const TreeRecord& record, int32_t leaf) {
  std::vector<Step> steps;
  for (const int32_t id : path_to(record, leaf)) {
    const NodeRecord& node = record.nodes[static_cast<size_t>(id)];
    Step step;
    step.tokens = piece(record.tokens, node);
    step.logprobs = piece(record.logprobs, node);
    step.entropies = piece(record.entropies, node);
    step.token_versions = piece(record.token_versions, node);
    step.policy_version = step.token_versions.empty() ? record.policy_version : step.token_versions.back();
    step.finish = node.terminal ? Finish::kEos : Finish::kLength;
    steps.push_back(std::move(step));
  }
  return steps;
}

BranchRollouts::BranchRollouts(Problem problem, const TreeKey& key, std::vector<Step> way, int64_t n,
                               const SearchParams& params, const Verifier& verifier, uint64_t seed, uint64_t handle)
    : problem_(std::move(problem)),
      key_(key),
      n_(static_cast<int32_t>(n)),
      params_(independent(params)),
      verifier_(verifier),
      handle_(handle),
      nodes_(params_, tree_hash(seed, RecordKind::kBranch, key), problem_.prompt_tokens),
      trunk_{0},
      high_(static_cast<int32_t>(way.size())) {
  check(params_);
  if (way.empty() || n < 1 || n > 65536) failure("{} rollouts from a solution of {} steps", n, way.size());
  for (Step& step : way) {
    const int32_t id = nodes_.append(trunk_.back(), std::move(step));
    nodes_[trunk_.back()].expanded = nodes_[id].created = nodes_[id].depth - 1;
    trunk_.push_back(id);
  }
  Node& solution = nodes_[trunk_.back()];
  solution.terminal = true;
  solution.outcome = Outcome::kCorrect;
  solution.reward = 1.0;
  begin_group(high_ / 2);
}

void BranchRollouts::begin_group(int32_t place) {
  place_ = place;
  leaves_[place].assign(static_cast<size_t>(n_), -1);
  waiting_.push_back(trunk_[static_cast<size_t>(place)]);
}

void BranchRollouts::end_group() {
  const std::vector<int32_t>& leaves = leaves_.at(place_);
  const auto correct = std::count_if(leaves.begin(), leaves.end(),
                                     [&](int32_t leaf) { return nodes_[leaf].outcome == Outcome::kCorrect; });
  const bool mixed = correct > 0 && correct < n_;
  if (correct == 0) {
    low_ = place_;
  } else if (!mixed) {
    high_ = place_;
  }
  const bool decided = high_ - low_ <= 1;
  if (mixed || (decided && leaves_.contains(low_)) || high_ == 0) {
    if (!mixed && high_ > 0) place_ = low_;
    stop_ = StopReason::kEnough;
  } else {
    begin_group((low_ + high_) / 2);
  }
}

std::optional<ExpansionRequest> BranchRollouts::next_request() {
  if (done() || waiting_.empty()) return std::nullopt;
  const int32_t node = waiting_.front();
  waiting_.pop_front();
  const int32_t n_children = node == trunk_[static_cast<size_t>(place_)] ? n_ : 1;
  ExpansionRequest request = nodes_.request(handle_, node, n_children);
  running_.push_back({.node = node, .first_child = request.first_child, .n_children = n_children});
  return request;
}

void BranchRollouts::apply(Expansion expansion) {
  if (done()) return;
  const auto found = std::find_if(running_.begin(), running_.end(),
                                  [&](const Running& running) { return running.node == expansion.node; });
  if (expansion.tree != handle_ || found == running_.end()) {
    failure("rollouts {}: an expansion of node {} of tree {} came that was not asked for", handle_, expansion.node,
            expansion.tree);
  }
  nodes_.check(expansion, found->n_children);
  const int32_t first_child = found->first_child;
  running_.erase(found);
  tokens_generated_ += expansion.tokens_generated;
  tokens_prefilled_ += expansion.tokens_prefilled;
  nodes_[expansion.node].expanded = nodes_[expansion.node].depth;
  for (size_t i = 0; i < expansion.children.size(); ++i) {
    take_child(first_child + static_cast<int32_t>(i), expansion.node, std::move(expansion.children[i]),
               expansion.made_by_rank);
  }
  if (running_.empty() && waiting_.empty()) end_group();
}

void BranchRollouts::take_child(int32_t id, int32_t parent, Step step, int32_t rank) {
  Node& node = nodes_.fill(id, parent, std::move(step));
  node.created = node.depth - 1;
  node.made_by_rank = rank;
  const Judgement judgement = judge(verifier_, problem_, params_, nodes_.response(id), node.step.finish, node.depth);
  node.terminal = judgement.terminal;
  node.dead = judgement.dead;
  node.outcome = judgement.outcome;
  node.reward = judgement.reward;
  if (!node.terminal) {
    waiting_.push_back(id);
    return;
  }
  int32_t first = id;
  while (nodes_[first].depth > place_ + 1) first = nodes_[first].parent;
  // Child 0 of the place is the solution's own next step.
  leaves_.at(place_)[static_cast<size_t>(nodes_[first].child_index - 1)] = id;
}

// The same whatever came first: children by their place among siblings.
std::vector<int32_t> BranchRollouts::in_depth_first_order() const {
  std::vector<int32_t> order;
  std::vector<int32_t> stack = {0};
  while (!stack.empty()) {
    const int32_t id = stack.back();
    stack.pop_back();
    order.push_back(id);
    const std::vector<int32_t>& children = nodes_[id].children;
    stack.insert(stack.end(), children.rbegin(), children.rend());
  }
  return order;
}

void BranchRollouts::back_up(const std::vector<int32_t>& order) {
  for (const int32_t leaf : order) {
    if (!nodes_[leaf].terminal) continue;
    for (const int32_t id : nodes_.path(leaf)) {
      ++nodes_[id].visits;
      nodes_[id].q += nodes_[leaf].reward;
    }
  }
}

TreeRecord BranchRollouts::finish() {
  if (!done()) failure("rollouts {}: finished before they were done", handle_);
  const std::vector<int32_t> order = in_depth_first_order();
  back_up(order);
  TreeRecord record;
  record.kind = RecordKind::kBranch;
  record.key = key_;
  record.problem = std::move(problem_);
  record.stop_reason = stop_;
  record.iterations = static_cast<int32_t>(leaves_.size());
  record.tokens_generated = tokens_generated_;
  record.tokens_prefilled = tokens_prefilled_;
  const std::vector<int32_t> number = nodes_.write(order, record);
  for (int32_t depth = 1; depth <= place_; ++depth) {
    record.nodes[static_cast<size_t>(number[static_cast<size_t>(trunk_[static_cast<size_t>(depth)])])].given = true;
  }
  std::vector<int32_t> chosen = leaves_.at(place_);
  std::erase(chosen, -1);
  const bool none_succeeds = std::none_of(chosen.begin(), chosen.end(),
                                          [&](int32_t leaf) { return nodes_[leaf].outcome == Outcome::kCorrect; });
  if (none_succeeds) chosen.push_back(trunk_.back());
  for (const int32_t leaf : chosen) {
    const Node& node = nodes_[leaf];
    record.recorded.push_back({.leaf = number[static_cast<size_t>(leaf)],
                               .reward = node.reward,
                               .entropy = node.trajectory_entropy(),
                               .outcome = node.outcome,
                               .leftover = false});
  }
  record.events.push_back({record.iterations, EventKind::kStop, -1, static_cast<double>(stop_)});
  return record;
}

}  // namespace deepsearch
