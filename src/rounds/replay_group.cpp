#include "rounds/replay_group.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace deepsearch {

namespace {

class GroupMaker {
 public:
  GroupMaker(TreeRecord& group, const SearchParams& params, int64_t version)
      : group_(group), params_(params), version_(static_cast<int32_t>(version)) {}

  void add(const ScoredSolution& solution) {
    const auto n = static_cast<int32_t>(solution.tokens.size());
    if (n == 0 || solution.logprobs.size() != solution.tokens.size() ||
        solution.entropies.size() != solution.tokens.size()) {
      failure("a cached solution of {} tokens with {} log-probs", n, solution.logprobs.size());
    }
    const auto step = static_cast<int32_t>(params_.step_tokens);
    int32_t parent = 0;
    double entropy = 0;
    for (int32_t first = 0; first < n; first += step) {
      NodeRecord node = node_of(solution, first, std::min(step, n - first));
      entropy += node.entropy * static_cast<double>(node.n_tokens);
      node.parent = parent;
      node.depth = group_.nodes[static_cast<size_t>(parent)].depth + 1;
      if (parent > 0) group_.nodes[static_cast<size_t>(parent)].expanded = node.depth - 1;
      node.created = node.depth - 1;
      node.terminal = first + step >= n;
      if (node.terminal) node.outcome = Outcome::kCorrect;
      parent = static_cast<int32_t>(group_.nodes.size());
      group_.nodes.push_back(node);
      group_.iterations = std::max(group_.iterations, node.depth);
    }
    NodeRecord& root = group_.nodes[0];
    ++root.visits;
    root.value += 1;
    root.expanded = 0;
    group_.recorded.push_back({.leaf = parent,
                               .reward = 1,
                               .entropy = entropy / n,
                               .outcome = Outcome::kCorrect,
                               .leftover = false,
                               .cached = true});
  }

 private:
  NodeRecord node_of(const ScoredSolution& solution, int32_t first, int32_t n) {
    NodeRecord node;
    node.first_token = static_cast<int32_t>(group_.tokens.size());
    node.n_tokens = n;
    node.visits = 1;
    node.value = 1;
    node.made_by_rank = group_.made_by_rank;
    for (int32_t i = first; i < first + n; ++i) {
      const auto at = static_cast<size_t>(i);
      group_.tokens.push_back(solution.tokens[at]);
      group_.logprobs.push_back(solution.logprobs[at]);
      group_.entropies.push_back(solution.entropies[at]);
      group_.token_versions.push_back(version_);
      node.logprob += static_cast<double>(solution.logprobs[at]);
      node.entropy += static_cast<double>(solution.entropies[at]) / n;
    }
    return node;
  }

  TreeRecord& group_;
  const SearchParams& params_;
  int32_t version_;
};

}  // namespace

TreeRecord make_replay_group(TreeRecord rollouts, const std::vector<ScoredSolution>& cached, const SearchParams& params,
                             int64_t version) {
  TreeRecord group = rollouts;
  group.kind = RecordKind::kReplay;
  group.nodes.clear();
  group.tokens.clear();
  group.logprobs.clear();
  group.entropies.clear();
  group.token_versions.clear();
  group.recorded.clear();
  group.nodes.push_back(rollouts.nodes.empty() ? NodeRecord() : rollouts.nodes[0]);
  GroupMaker maker(group, params, version);
  for (const ScoredSolution& solution : cached) maker.add(solution);

  const auto shift = static_cast<int32_t>(group.nodes.size()) - 1;
  const auto first_token = static_cast<int32_t>(group.tokens.size());
  for (size_t id = 1; id < rollouts.nodes.size(); ++id) {
    NodeRecord node = rollouts.nodes[id];
    if (node.parent > 0) node.parent += shift;
    node.first_token += first_token;
    group.nodes.push_back(node);
  }
  const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  append(group.tokens, rollouts.tokens);
  append(group.logprobs, rollouts.logprobs);
  append(group.entropies, rollouts.entropies);
  append(group.token_versions, rollouts.token_versions);
  if (rollouts.token_versions.size() != rollouts.tokens.size()) {
    group.token_versions.resize(group.tokens.size(), static_cast<int32_t>(version));
  }
  for (RecordedLeaf leaf : rollouts.recorded) {
    leaf.leaf += shift;
    group.recorded.push_back(leaf);
  }
  group.policy_version = version;
  if (rollouts.nodes.empty()) {
    group.stop_reason = StopReason::kEnough;
    group.events = {{group.iterations, EventKind::kStop, -1, static_cast<double>(StopReason::kEnough)}};
  }
  return group;
}

int64_t cached_tokens(const TreeRecord& record) {
  int64_t tokens = 0;
  for (const RecordedLeaf& leaf : record.recorded) {
    if (leaf.cached) tokens += static_cast<int64_t>(trajectory_tokens(record, leaf.leaf).size());
  }
  return tokens;
}

}  // namespace deepsearch
