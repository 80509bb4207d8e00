#include "data/tree_record.h"

#include <algorithm>

#include "core/error.h"

namespace deepsearch {

std::vector<int32_t> path_to(const TreeRecord& tree, int32_t leaf) {
  const auto n_nodes = static_cast<int64_t>(tree.nodes.size());
  if (leaf < 0 || leaf >= n_nodes) {
    failure("tree record: node {} asked for, the tree has {}", leaf, n_nodes);
  }
  std::vector<int32_t> path;
  for (int32_t node = leaf; node != 0;) {
    path.push_back(node);
    const int32_t parent = tree.nodes[static_cast<size_t>(node)].parent;
    // Nodes are numbered by creation, so a parent comes first; anything else could send us round in a circle.
    if (parent < 0 || parent >= node) {
      failure("tree record: node {} names {} as its parent; it must be an earlier node", node, parent);
    }
    node = parent;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

std::vector<Token> trajectory_tokens(const TreeRecord& tree, int32_t leaf) {
  const auto n_tokens = static_cast<int64_t>(tree.tokens.size());
  std::vector<Token> tokens;
  for (const int32_t id : path_to(tree, leaf)) {
    const NodeRecord& node = tree.nodes[static_cast<size_t>(id)];
    if (node.first_token < 0 || node.n_tokens < 0 || int64_t{node.first_token} + node.n_tokens > n_tokens) {
      failure("tree record: node {} has tokens {} to {}, the tree has {}", id, node.first_token,
              int64_t{node.first_token} + node.n_tokens, n_tokens);
    }
    const auto first = tree.tokens.begin() + node.first_token;
    tokens.insert(tokens.end(), first, first + node.n_tokens);
  }
  return tokens;
}

TreeRecord recorded_paths(const TreeRecord& tree) {
  std::vector<int32_t> number(tree.nodes.size(), -1);  // new ids, −1 for what is left out
  if (!number.empty()) number[0] = 0;
  for (const RecordedLeaf& recorded : tree.recorded) {
    for (int32_t id = recorded.leaf; id > 0 && number[static_cast<size_t>(id)] < 0;
         id = tree.nodes[static_cast<size_t>(id)].parent) {
      number[static_cast<size_t>(id)] = 0;
    }
  }
  TreeRecord kept = tree;
  kept.nodes.clear();
  kept.tokens.clear();
  kept.logprobs.clear();
  kept.entropies.clear();
  kept.token_versions.clear();
  kept.events.clear();
  for (size_t id = 0; id < tree.nodes.size(); ++id) {
    if (number[id] < 0) continue;
    NodeRecord node = tree.nodes[id];
    number[id] = static_cast<int32_t>(kept.nodes.size());
    if (node.parent >= 0) node.parent = number[static_cast<size_t>(node.parent)];
    const auto take = [&](auto& to, const auto& from) {
      const auto first = from.begin() + node.first_token;
      to.insert(to.end(), first, first + node.n_tokens);
    };
    const auto first_token = static_cast<int32_t>(kept.tokens.size());
    take(kept.tokens, tree.tokens);
    take(kept.logprobs, tree.logprobs);
    take(kept.entropies, tree.entropies);
    take(kept.token_versions, tree.token_versions);
    node.first_token = first_token;
    kept.nodes.push_back(node);
  }
  for (RecordedLeaf& recorded : kept.recorded) recorded.leaf = number[static_cast<size_t>(recorded.leaf)];
  for (SearchEvent event : tree.events) {
    if (event.node >= 0) event.node = number[static_cast<size_t>(event.node)];
    const bool gone = event.node < 0 && event.kind != EventKind::kStop;
    if (!gone) kept.events.push_back(event);
  }
  return kept;
}

bool has_correct(const TreeRecord& tree) {
  return std::any_of(tree.nodes.begin(), tree.nodes.end(),
                     [](const NodeRecord& node) { return node.terminal && node.outcome == Outcome::kCorrect; });
}

int32_t first_solution(const TreeRecord& tree) {
  const auto found = std::find_if(tree.recorded.begin(), tree.recorded.end(),
                                  [](const RecordedLeaf& leaf) { return leaf.outcome == Outcome::kCorrect; });
  return found == tree.recorded.end() ? -1 : found->leaf;
}

const char* to_string(RecordKind kind) {
  switch (kind) {
    case RecordKind::kTree:
      return "tree";
    case RecordKind::kRollouts:
      return "rollouts";
    case RecordKind::kReplay:
      return "replay";
    case RecordKind::kBranch:
      return "branch";
  }
  return "unknown";
}

const char* to_string(Dropped why) {
  switch (why) {
    case Dropped::kNo:
      return "no";
    case Dropped::kRepetition:
      return "repetition";
    case Dropped::kGarbled:
      return "garbled";
  }
  return "unknown";
}

const char* to_string(StopReason reason) {
  switch (reason) {
    case StopReason::kRunning:
      return "running";
    case StopReason::kEnough:
      return "enough";
    case StopReason::kExhausted:
      return "exhausted";
    case StopReason::kBudget:
      return "budget";
    case StopReason::kSolved:
      return "solved";
    case StopReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

const char* to_string(EventKind kind) {
  switch (kind) {
    case EventKind::kExpand:
      return "expand";
    case EventKind::kPick:
      return "pick";
    case EventKind::kBackup:
      return "backup";
    case EventKind::kSelectLocal:
      return "select_local";
    case EventKind::kSelectFrontier:
      return "select_frontier";
    case EventKind::kSelectUct:
      return "select_uct";
    case EventKind::kSelectDeepest:
      return "select_deepest";
    case EventKind::kLeftover:
      return "leftover";
    case EventKind::kStop:
      return "stop";
  }
  return "unknown";
}

}  // namespace deepsearch
