#include "learn/rows.h"

namespace deepsearch {

std::vector<Row> rows_of(const TreeRecord& tree, const CreditParams& credit) {
  std::vector<Row> rows;
  for (const TrajectoryCredit& trajectory : credit_of(tree, credit)) {
    Row row;
    row.tokens = tree.problem.prompt_tokens;
    row.n_prompt = static_cast<int64_t>(row.tokens.size());
    row.key = tree.key;
    for (size_t j = 0; j < trajectory.path.size(); ++j) {
      const NodeRecord& node = tree.nodes[static_cast<size_t>(trajectory.path[j])];
      const auto first = static_cast<std::ptrdiff_t>(node.first_token);
      const auto end = first + node.n_tokens;
      row.tokens.insert(row.tokens.end(), tree.tokens.begin() + first, tree.tokens.begin() + end);
      row.behaviour.insert(row.behaviour.end(), tree.logprobs.begin() + first, tree.logprobs.begin() + end);
      if (!tree.token_versions.empty()) {
        row.versions.insert(row.versions.end(), tree.token_versions.begin() + first, tree.token_versions.begin() + end);
      }
      row.advantages.insert(row.advantages.end(), static_cast<size_t>(node.n_tokens),
                            static_cast<float>(trajectory.advantages[j]));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace deepsearch
