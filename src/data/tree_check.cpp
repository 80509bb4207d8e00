#include "data/tree_check.h"

#include <cstdint>

#include <fmt/format.h>

namespace deepsearch {

namespace {

bool known(Outcome outcome) {
  return outcome <= Outcome::kIncomplete || outcome == Outcome::kNone;
}

std::string wrong_column(const TreeRecord& tree, Columns columns) {
  const auto fits = [&](size_t size) {
    return size == tree.tokens.size() || (size == 0 && columns == Columns::kSomeLeftOut);
  };
  if (fits(tree.logprobs.size()) && fits(tree.entropies.size()) && fits(tree.token_versions.size())) return "";
  return fmt::format("{} tokens, {} log-probabilities, {} entropies and {} policy versions", tree.tokens.size(),
                     tree.logprobs.size(), tree.entropies.size(), tree.token_versions.size());
}

std::string wrong_node(const TreeRecord& tree) {
  const auto n_tokens = static_cast<int64_t>(tree.tokens.size());
  for (int64_t id = 0; id < static_cast<int64_t>(tree.nodes.size()); ++id) {
    const NodeRecord& node = tree.nodes[static_cast<size_t>(id)];
    const bool parent_fits = id == 0 ? node.parent == -1 : node.parent >= 0 && node.parent < id;
    if (!parent_fits) return fmt::format("node {} has the parent {}", id, node.parent);
    if (node.first_token < 0 || node.n_tokens < 0 || int64_t{node.first_token} + node.n_tokens > n_tokens) {
      return fmt::format("node {} has tokens {} + {}, the tree has {}", id, node.first_token, node.n_tokens, n_tokens);
    }
    if (!known(node.outcome)) return fmt::format("node {} has an unknown outcome", id);
  }
  return "";
}

}  // namespace

std::string contradiction(const TreeRecord& tree, Columns columns) {
  if (tree.kind > RecordKind::kBranch) return "an unknown kind of record";
  if (tree.stop_reason > StopReason::kCancelled) return "an unknown stop reason";
  if (std::string wrong = wrong_column(tree, columns); !wrong.empty()) return wrong;
  if (std::string wrong = wrong_node(tree); !wrong.empty()) return wrong;
  const auto n_nodes = static_cast<int64_t>(tree.nodes.size());
  for (const RecordedLeaf& leaf : tree.recorded) {
    if (leaf.leaf < 0 || leaf.leaf >= n_nodes) {
      return fmt::format("the recorded leaf {} is no node of {}", leaf.leaf, n_nodes);
    }
    if (!known(leaf.outcome)) return fmt::format("the recorded leaf {} has an unknown outcome", leaf.leaf);
    if (leaf.dropped > Dropped::kGarbled)
      return fmt::format("the recorded leaf {} is dropped for no reason", leaf.leaf);
  }
  for (const SearchEvent& event : tree.events) {
    if (event.kind > EventKind::kStop) return "an unknown kind of event";
    if (event.node < -1 || event.node >= n_nodes) {
      return fmt::format("an event's node {} is none of {}", event.node, n_nodes);
    }
  }
  return "";
}

}  // namespace deepsearch
