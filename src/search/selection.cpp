#include "search/selection.h"

#include <algorithm>
#include <cmath>

namespace deepsearch {

namespace {

const Node& at(std::span<const Node> nodes, int32_t id) {
  return nodes[static_cast<size_t>(id)];
}

// Depth-first pre-order over the subtrees that `enter` admits; the root itself is not visited. visit(id, parent).
template <class Enter, class Visit>
void walk(std::span<const Node> nodes, Enter enter, Visit visit) {
  struct Place {
    int32_t node;
    size_t next_child;
  };
  std::vector<Place> stack = {{0, 0}};
  while (!stack.empty()) {
    Place& place = stack.back();
    const Node& parent = at(nodes, place.node);
    if (place.next_child == parent.children.size()) {
      stack.pop_back();
      continue;
    }
    const int32_t child = parent.children[place.next_child++];
    if (!enter(at(nodes, child))) continue;
    visit(child, parent);
    stack.push_back({child, 0});
  }
}

bool has_open_nodes(const Node& node) {
  return node.open_below > 0;
}

}  // namespace

double depth_bonus(DepthBonus kind, int32_t depth, int64_t max_depth) {
  switch (kind) {
    case DepthBonus::kSqrt:
      return std::sqrt(static_cast<double>(depth) / static_cast<double>(max_depth));
    case DepthBonus::kLinear:
      return depth;
    case DepthBonus::kLog:
      return std::log(static_cast<double>(depth) + 1.0);
    case DepthBonus::kNone:
      break;
  }
  return 0;
}

double uct_score(double mean, int32_t visits, int32_t parent_visits, double uct_c) {
  if (visits <= 0 || parent_visits <= 0) return mean;
  return mean + uct_c * std::sqrt(std::log(static_cast<double>(parent_visits)) / static_cast<double>(visits));
}

double frontier_score(const SearchParams& params, double parent_mean, double entropy, int32_t depth, double mean) {
  double score = params.lambda1 * std::tanh(parent_mean) + params.lambda2 * entropy +
                 params.lambda3 * depth_bonus(params.depth_bonus, depth, params.max_depth);
  if (params.lambda4 > 0) score += params.lambda4 * std::tanh(mean);
  return score;
}

void list_children(std::span<const Node> nodes, int32_t parent, double uct_c, std::vector<Scored>& out) {
  out.clear();
  const Node& above = at(nodes, parent);
  for (const int32_t child : above.children) {
    const Node& node = at(nodes, child);
    if (node.terminal || node.chosen) continue;
    out.push_back({child, uct_score(node.mean(), node.visits, above.visits, uct_c)});
  }
}

void list_frontier(std::span<const Node> nodes, const SearchParams& params, bool frontier_only,
                   std::vector<Scored>& out) {
  out.clear();
  const auto enter = [&](const Node& node) { return frontier_only ? has_open_nodes(node) : !node.terminal; };
  walk(nodes, enter, [&](int32_t id, const Node& parent) {
    const Node& node = at(nodes, id);
    if (node.chosen || (frontier_only && !node.frontier)) return;
    out.push_back({id, frontier_score(params, parent.mean(), node.entropy, node.depth, node.mean())});
  });
}

void list_depths(std::span<const Node> nodes, std::vector<Scored>& out) {
  out.clear();
  walk(nodes, has_open_nodes, [&](int32_t id, const Node&) {
    const Node& node = at(nodes, id);
    if (node.frontier) out.push_back({id, static_cast<double>(node.depth)});
  });
}

void list_open_children(std::span<const Node> nodes, int32_t parent, double uct_c, std::vector<Scored>& out) {
  out.clear();
  const Node& above = at(nodes, parent);
  for (const int32_t child : above.children) {
    const Node& node = at(nodes, child);
    if (has_open_nodes(node)) out.push_back({child, uct_score(node.mean(), node.visits, above.visits, uct_c)});
  }
}

int32_t first_best(std::span<const Scored> candidates) {
  const auto less = [](const Scored& a, const Scored& b) { return a.score < b.score; };
  const auto best = std::max_element(candidates.begin(), candidates.end(), less);
  return best == candidates.end() ? -1 : best->node;
}

bool best_is_tied(std::span<const Scored> candidates) {
  int64_t count = 0;
  double best = 0;
  for (const Scored& candidate : candidates) {
    if (count == 0 || candidate.score > best) {
      best = candidate.score;
      count = 1;
    } else if (candidate.score == best) {
      ++count;
    }
  }
  return count > 1;
}

int32_t best_by_local_tie(std::span<const Node> nodes, std::span<const Scored> candidates, LocalTie tie,
                          double uniform) {
  if (candidates.empty()) return -1;
  double best = candidates.front().score;
  for (const Scored& candidate : candidates) best = std::max(best, candidate.score);
  std::vector<int32_t> tied;
  for (const Scored& candidate : candidates) {
    if (candidate.score == best) tied.push_back(candidate.node);
  }
  const auto by_entropy = [&](int32_t a, int32_t b) { return at(nodes, a).entropy < at(nodes, b).entropy; };
  switch (tie) {
    case LocalTie::kFirst:
      break;
    case LocalTie::kEntropyLow:
      return *std::min_element(tied.begin(), tied.end(), by_entropy);
    case LocalTie::kEntropyHigh:
      return *std::max_element(tied.begin(), tied.end(), by_entropy);
    case LocalTie::kRandom: {
      const auto drawn = static_cast<size_t>(uniform * static_cast<double>(tied.size()));
      return tied[std::min(drawn, tied.size() - 1)];
    }
  }
  return tied.front();
}

}  // namespace deepsearch
