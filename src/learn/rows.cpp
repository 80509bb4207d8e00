#include "learn/rows.h"

#include <algorithm>

namespace deepsearch {

std::vector<Row> rows_of(const TreeRecord& tree, const CreditParams& credit) {
  std::vector<Row> rows;
  for (const TrajectoryCredit& trajectory : credit_of(tree, credit)) {
    if (trajectory.trained_tokens == 0) continue;
    Row row;
    row.tokens = tree.problem.prompt_tokens;
    row.n_prompt = static_cast<int64_t>(row.tokens.size());
    row.key = tree.key;
    int64_t wanted = trajectory.trained_tokens;
    for (const int32_t id : trajectory.path) {
      const NodeRecord& node = tree.nodes[static_cast<size_t>(id)];
      const auto first = static_cast<std::ptrdiff_t>(node.first_token);
      const auto end = first + static_cast<std::ptrdiff_t>(std::min<int64_t>(node.n_tokens, wanted));
      wanted -= end - first;
      row.tokens.insert(row.tokens.end(), tree.tokens.begin() + first, tree.tokens.begin() + end);
      row.behaviour.insert(row.behaviour.end(), tree.logprobs.begin() + first, tree.logprobs.begin() + end);
      if (!tree.token_versions.empty()) {
        row.versions.insert(row.versions.end(), tree.token_versions.begin() + first, tree.token_versions.begin() + end);
      }
    }
    const std::vector<double> advantages = per_token(trajectory);
    row.advantages.assign(advantages.begin(), advantages.begin() + trajectory.trained_tokens);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<MicroBatch> split_into_microbatches(const std::vector<Row>& rows, int64_t tokens) {
  std::vector<const Row*> sorted;
  sorted.reserve(rows.size());
  for (const Row& row : rows) sorted.push_back(&row);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Row* a, const Row* b) { return a->tokens.size() > b->tokens.size(); });
  std::vector<MicroBatch> result;
  size_t room = 0;  // rows that still fit the current one: its first row is its longest
  for (const Row* row : sorted) {
    if (room == 0) {
      room = std::max<size_t>(1, static_cast<size_t>(tokens) / std::max<size_t>(row->tokens.size(), 1));
      result.emplace_back();
    }
    result.back().push_back(row);
    --room;
  }
  return result;
}

}  // namespace deepsearch
