#include "run/finished_trees.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace deepsearch {

using Item = AssignMessage::Item;
using Work = AssignMessage::Work;

std::vector<TreeRecord> FinishedTrees::take(std::vector<Item>& items, bool branches) {
  std::map<TreeKey, Item*> wanted;
  for (Item& item : items) wanted[item.key] = &item;
  std::set<TreeKey> branched;
  for (const TreeRecord& tree : trees_) {
    if (tree.kind == RecordKind::kBranch) branched.insert(tree.key);
  }
  std::map<TreeKey, bool> done;
  std::vector<TreeRecord> taken;
  std::vector<TreeRecord> left;
  for (TreeRecord& tree : trees_) {
    const auto found = wanted.find(tree.key);
    if (found == wanted.end()) {
      left.push_back(std::move(tree));
      continue;
    }
    const bool to_branch = branches && found->second->work != Work::kEvaluate && tree.kind == RecordKind::kTree &&
                           first_solution(tree) >= 0 && !branched.contains(tree.key);
    if (to_branch) {
      done[tree.key] = false;
      continue;
    }
    const bool hands_over =
        found->second->work == Work::kHandOver && tree.kind == RecordKind::kRollouts && !has_correct(tree);
    done[tree.key] = done[tree.key] || !hands_over;
    taken.push_back(std::move(tree));
  }
  trees_ = std::move(left);
  for (const auto& [key, whole] : done) {
    if (!whole) wanted[key]->work = Work::kTree;
  }
  std::erase_if(items, [&](const Item& item) {
    const auto found = done.find(item.key);
    return found != done.end() && found->second;
  });
  return taken;
}

void sort_by_key(std::vector<TreeRecord>& trees) {
  std::sort(trees.begin(), trees.end(),
            [](const TreeRecord& a, const TreeRecord& b) { return std::tie(a.key, b.kind) < std::tie(b.key, a.kind); });
}

}  // namespace deepsearch
