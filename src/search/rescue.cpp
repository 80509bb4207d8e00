#include "search/rescue.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace deepsearch {

namespace {

// A node of the tree at the end of the group, below `parent`, with its tokens.
int32_t append_node(TreeRecord& group, const TreeRecord& tree, const NodeRecord& from, int32_t parent) {
  const auto first = static_cast<std::ptrdiff_t>(from.first_token);
  const auto last = first + from.n_tokens;
  const auto copy = [&](auto& to, const auto& source) {
    if (!source.empty()) to.insert(to.end(), source.begin() + first, source.begin() + last);
  };
  NodeRecord node = from;
  node.parent = parent;
  node.first_token = static_cast<int32_t>(group.tokens.size());
  copy(group.tokens, tree.tokens);
  copy(group.logprobs, tree.logprobs);
  copy(group.entropies, tree.entropies);
  copy(group.token_versions, tree.token_versions);
  group.nodes.push_back(node);
  return static_cast<int32_t>(group.nodes.size()) - 1;
}

}  // namespace

TreeRecord rescued_group(TreeRecord rollouts, const TreeRecord& tree) {
  if (rollouts.key != tree.key) failure("a tree and rollouts of different keys");
  TreeRecord group = std::move(rollouts);
  for (const RecordedLeaf& recorded : tree.recorded) {
    if (recorded.outcome != Outcome::kCorrect) continue;
    int32_t parent = 0;
    for (const int32_t id : path_to(tree, recorded.leaf)) {
      parent = append_node(group, tree, tree.nodes[static_cast<size_t>(id)], parent);
    }
    RecordedLeaf leaf = recorded;
    leaf.leaf = parent;
    group.recorded.push_back(leaf);
  }
  group.policy_version = std::min(group.policy_version, tree.policy_version);
  return group;
}

}  // namespace deepsearch
