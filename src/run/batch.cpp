#include "run/batch.h"

#include <algorithm>
#include <map>
#include <utility>

namespace deepsearch {

StepBatch choose_batch(const std::vector<TreeRecord>& records, int64_t wanted, const CreditParams& credit) {
  std::map<TreeKey, const TreeRecord*> teaching;
  for (const TreeRecord& record : records) {
    const TreeRecord*& slot = teaching[record.key];
    if (slot == nullptr || record.kind == RecordKind::kTree) slot = &record;
  }
  StepBatch batch;
  for (const auto& [key, record] : teaching) {
    ++batch.seen;
    if (has_correct(*record)) ++batch.solved;
    if (is_uniform(*record, credit)) ++batch.uniform;
    const bool room = static_cast<int64_t>(batch.trees.size()) < wanted;
    if (room && teaches(*record, credit)) batch.trees.push_back(*record);
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
