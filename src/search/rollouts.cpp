#include "search/rollouts.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "core/error.h"

namespace deepsearch {

Rollouts::Rollouts(Problem problem, const TreeKey& key, int64_t n, const SearchParams& params, const Verifier& verifier,
                   uint64_t seed, uint64_t handle)
    : RolloutEpisode(RecordKind::kRollouts, std::move(problem), key, n, params, verifier, seed, handle),
      leaves_(static_cast<size_t>(n_), -1) {
  waiting_.push_back(0);
}

void Rollouts::ended(int32_t leaf) {
  int32_t first = leaf;
  while (nodes()[first].depth > 1) first = nodes()[first].parent;
  leaves_[static_cast<size_t>(nodes()[first].child_index)] = leaf;
}

TreeRecord Rollouts::finish() {
  if (!done()) failure("rollouts {}: finished before they were done", handle());
  std::erase(leaves_, -1);
  // In the order of the rollouts, so that sums do not depend on which ended first.
  for (const int32_t leaf : leaves_) back_up(leaf);
  std::vector<int32_t> rollout(static_cast<size_t>(nodes().size()), -1);
  std::vector<int32_t> order = nodes().creation_order();
  int32_t deepest = 0;
  for (const int32_t id : order) {
    const Node& node = nodes()[id];
    deepest = std::max(deepest, node.depth);
    if (id != 0)
      rollout[static_cast<size_t>(id)] = node.depth == 1 ? node.child_index : rollout[static_cast<size_t>(node.parent)];
  }
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return std::tie(nodes()[a].depth, rollout[static_cast<size_t>(a)]) <
           std::tie(nodes()[b].depth, rollout[static_cast<size_t>(b)]);
  });
  Draft group = begin_record(deepest, order);
  for (const int32_t leaf : leaves_) add_trajectory(group, leaf);
  return end_record(std::move(group));
}

}  // namespace deepsearch
