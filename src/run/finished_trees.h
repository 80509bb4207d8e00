// Trees of a piece of search work that an earlier attempt had finished when it was stopped: they are not grown again.
#pragma once

#include <vector>

#include "comm/messages.h"
#include "data/tree_record.h"

namespace deepsearch {

class FinishedTrees {
 public:
  FinishedTrees() = default;
  explicit FinishedTrees(std::vector<TreeRecord> trees) : trees_(std::move(trees)) {}

  // Gives the records of these items, and removes from `items` those that need no more work. An item whose rollouts are
  // here but not the tree they hand over to stays, with only the tree to grow; so it does where the tree is here but,
  // with `branches` ([search].branch_rollouts), not what follows it: the tree is grown again.
  std::vector<TreeRecord> take(std::vector<AssignMessage::Item>& items, bool branches);

  // What has not been taken.
  const std::vector<TreeRecord>& rest() const { return trees_; }
  void clear() { trees_.clear(); }

 private:
  std::vector<TreeRecord> trees_;
};

// The order that a step's records are used in, whoever grew them: by key, groups before trees.
void sort_by_key(std::vector<TreeRecord>& trees);

}  // namespace deepsearch
