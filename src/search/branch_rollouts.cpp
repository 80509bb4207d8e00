#include "search/branch_rollouts.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace deepsearch {

namespace {

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
    : RolloutEpisode(RecordKind::kBranch, std::move(problem), key, n, params, verifier, seed, handle),
      high_(static_cast<int32_t>(way.size())) {
  if (way.empty()) failure("rollouts {}: a solution without a step", handle);
  for (Step& step : way) {
    const int32_t id = nodes().append(trunk_.back(), std::move(step));
    nodes()[trunk_.back()].expanded = nodes()[id].created = nodes()[id].depth - 1;
    trunk_.push_back(id);
  }
  Node& solution = nodes()[trunk_.back()];
  solution.terminal = true;
  solution.outcome = Outcome::kCorrect;
  solution.reward = 1.0;
  begin_group(high_ / 2);
}

void BranchRollouts::begin_group(int32_t place) {
  place_ = place;
  leaves_[place].assign(static_cast<size_t>(n_), -1);
  waiting_.push_back(start());
}

void BranchRollouts::all_ended() {
  const std::vector<int32_t>& leaves = leaves_.at(place_);
  const auto correct = std::count_if(leaves.begin(), leaves.end(),
                                     [&](int32_t leaf) { return nodes()[leaf].outcome == Outcome::kCorrect; });
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

void BranchRollouts::ended(int32_t leaf) {
  int32_t first = leaf;
  while (nodes()[first].depth > place_ + 1) first = nodes()[first].parent;
  // Child 0 of the place is the solution's own next step.
  leaves_.at(place_)[static_cast<size_t>(nodes()[first].child_index - 1)] = leaf;
}

// The same whatever came first: children by their place among siblings.
std::vector<int32_t> BranchRollouts::in_depth_first_order() const {
  std::vector<int32_t> order;
  std::vector<int32_t> stack = {0};
  while (!stack.empty()) {
    const int32_t id = stack.back();
    stack.pop_back();
    order.push_back(id);
    const std::vector<int32_t>& children = nodes()[id].children;
    stack.insert(stack.end(), children.rbegin(), children.rend());
  }
  return order;
}

TreeRecord BranchRollouts::finish() {
  if (!done()) failure("rollouts {}: finished before they were done", handle());
  const std::vector<int32_t> order = in_depth_first_order();
  for (const int32_t id : order) {
    if (nodes()[id].terminal) back_up(id);
  }
  Draft group = begin_record(static_cast<int32_t>(leaves_.size()), order);
  for (int32_t depth = 1; depth <= place_; ++depth) {
    const int32_t number = group.number[static_cast<size_t>(trunk_[static_cast<size_t>(depth)])];
    group.record.nodes[static_cast<size_t>(number)].given = true;
  }
  std::vector<int32_t> chosen = leaves_.at(place_);
  std::erase(chosen, -1);
  const bool none_succeeds = std::none_of(chosen.begin(), chosen.end(),
                                          [&](int32_t leaf) { return nodes()[leaf].outcome == Outcome::kCorrect; });
  if (none_succeeds) chosen.push_back(trunk_.back());
  for (const int32_t leaf : chosen) add_trajectory(group, leaf);
  return end_record(std::move(group));
}

}  // namespace deepsearch
