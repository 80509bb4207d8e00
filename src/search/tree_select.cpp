// The tree's selection: algorithm.md section 2, step 7, and the orders beyond the paper.
#include "core/rng.h"
#include "search/tree.h"

namespace deepsearch {

// Fills the next wave: the local rule wherever the last one met no terminal, the global rule for the places left. It
// stays empty when nothing is left to expand.
void Tree::select_wave() {
  const auto size = static_cast<size_t>(params_.frontier_batch);
  bool frontier_only = params_.frontier_only;
  if (params_.order == Order::kFrontier) {
    for (const int32_t node : without_terminal_) {
      // The reference falls back on the strict frontier after a branch without a way on.
      if (select_local(node) < 0) frontier_only = true;
    }
  }
  while (wave_.size() < size) {
    if (select_global(frontier_only) < 0) break;
  }
}

int32_t Tree::select_local(int32_t node) {
  list_children(nodes_.all(), node, params_.uct_c, candidates_);
  const int32_t chosen = tie_broken(candidates_, node);
  if (observer_ != nullptr) observer_->on_select(SelectRule::kLocal, node, candidates_, chosen);
  if (chosen >= 0) {
    const Node& child = nodes_[chosen];
    choose(chosen, EventKind::kSelectLocal, uct_score(child.mean(), child.visits, nodes_[node].visits, params_.uct_c));
  }
  return chosen;
}

int32_t Tree::select_global(bool frontier_only) {
  if (params_.order == Order::kUct) return select_by_walk();
  const bool deepest = params_.order == Order::kDeepest;
  if (deepest) {
    list_depths(nodes_.all(), candidates_);
  } else {
    list_frontier(nodes_.all(), params_, frontier_only, candidates_);
  }
  const int32_t chosen = first_best(candidates_);
  if (observer_ != nullptr) {
    observer_->on_select(deepest ? SelectRule::kDeepest : SelectRule::kFrontier, -1, candidates_, chosen);
  }
  if (chosen < 0) return chosen;
  const Node& node = nodes_[chosen];
  const double score =
      deepest ? node.depth : frontier_score(params_, nodes_[node.parent].mean(), node.entropy, node.depth, node.mean());
  choose(chosen, deepest ? EventKind::kSelectDeepest : EventKind::kSelectFrontier, score);
  return chosen;
}

// order = "uct": from the root down by UCT through nodes that have been expanded, to one that has not. Children
// without a frontier node below them lead nowhere and are left out.
int32_t Tree::select_by_walk() {
  int32_t node = 0;
  double score = 0;
  while (!nodes_[node].frontier) {
    list_open_children(nodes_.all(), node, params_.uct_c, candidates_);
    const int32_t chosen = tie_broken(candidates_, node);
    if (observer_ != nullptr) observer_->on_select(SelectRule::kUct, node, candidates_, chosen);
    if (chosen < 0) return -1;  // only at the root
    score = uct_score(nodes_[chosen].mean(), nodes_[chosen].visits, nodes_[node].visits, params_.uct_c);
    node = chosen;
  }
  choose(node, EventKind::kSelectUct, score);
  return node;
}

int32_t Tree::tie_broken(std::span<const Scored> candidates, int32_t at) const {
  // A counter of its own half of the position space: the random pick of a terminal uses the iteration itself.
  const uint64_t position = (uint64_t{1} << 32) + static_cast<uint64_t>(iterations_);
  const double uniform = params_.local_tie == LocalTie::kRandom
                             ? uniform_at(seed_, RngPurpose::kSelection, nodes_[at].path_hash, position)
                             : 0.0;
  return best_by_local_tie(nodes_.all(), candidates, params_.local_tie, uniform);
}

void Tree::choose(int32_t id, EventKind kind, double score) {
  Node& node = nodes_[id];
  log_event(kind, id, score);
  node.chosen = true;
  const auto wanted = width_at(params_, node.depth) - static_cast<int64_t>(node.children.size());
  const bool revisit = node.closed || wanted <= 0;
  if (node.frontier) set_frontier(id, false);
  wave_.push_back({.node = id, .n_children = revisit ? 0 : static_cast<int32_t>(wanted), .expansion = {}});
}

// Keeps the counts that the listings use to skip what holds no frontier node.
void Tree::set_frontier(int32_t id, bool on) {
  nodes_[id].frontier = on;
  for (int32_t node = id; node >= 0; node = nodes_[node].parent) nodes_[node].open_below += on ? 1 : -1;
}

}  // namespace deepsearch
