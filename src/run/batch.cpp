#include "run/batch.h"

#include <algorithm>
#include <map>
#include <utility>

#include "search/rescue.h"

namespace deepsearch {

namespace {

struct OfOneProblem {
  const TreeRecord* tree = nullptr;
  const TreeRecord* group = nullptr;
  const TreeRecord* branch = nullptr;
};

// The record that teaches. Not a copy: a step of many waves looks at all of its records after each of them. `made`
// holds it where it is none of them.
const TreeRecord& chosen(const OfOneProblem& records, const CreditParams& credit, TreeRecord& made) {
  const auto& [tree, group, branch] = records;
  if (branch != nullptr) return *branch;
  const bool rescued = credit.rescue == Rescue::kGroup && tree != nullptr && group != nullptr;
  if (rescued) return made = rescued_group(*group, *tree);
  return tree != nullptr ? *tree : *group;
}

}  // namespace

StepBatch choose_batch(const std::vector<TreeRecord>& records, int64_t wanted, const CreditParams& credit) {
  std::map<TreeKey, OfOneProblem> by_problem;
  for (const TreeRecord& record : records) {
    OfOneProblem& problem = by_problem[record.key];
    const TreeRecord*& slot = record.kind == RecordKind::kTree     ? problem.tree
                              : record.kind == RecordKind::kBranch ? problem.branch
                                                                   : problem.group;
    slot = &record;
  }
  StepBatch batch;
  for (const auto& [key, of_problem] : by_problem) {
    TreeRecord made;
    const TreeRecord& record = chosen(of_problem, credit, made);
    ++batch.seen;
    if (has_correct(record)) ++batch.solved;
    if (is_uniform(record, credit)) ++batch.uniform;
    const bool room = static_cast<int64_t>(batch.trees.size()) < wanted;
    if (room && teaches(record, credit)) batch.trees.push_back(record);
  }
  return batch;
}

std::vector<std::vector<Row>> minibatches_of(const std::vector<TreeRecord>& trees, int64_t per_update,
                                             const CreditParams& credit) {
  std::vector<std::vector<Row>> minibatches;
  for (size_t i = 0; i < trees.size(); ++i) {
    if (i % static_cast<size_t>(per_update) == 0) minibatches.emplace_back();
    std::vector<Row> rows = rows_of(trees[i], credit);
    std::move(rows.begin(), rows.end(), std::back_inserter(minibatches.back()));
  }
  return minibatches;
}

}  // namespace deepsearch
