#include "learn/rows.h"

#include <utility>

namespace deepsearch {

Row supervised_row(std::vector<Token> tokens, int64_t n_prompt) {
  Row row;
  row.tokens = std::move(tokens);
  row.n_prompt = n_prompt;
  row.advantages.assign(static_cast<size_t>(row.n_response()), 0.0F);
  row.behaviour.assign(static_cast<size_t>(row.n_response()), 0.0F);
  return row;
}

namespace {

// Behind the prompt, as if a part of it.
void append_given(const TreeRecord& tree, const TrajectoryCredit& trajectory, std::vector<Token>& tokens) {
  if (trajectory.given_tokens == 0) return;
  const std::vector<Token> response = trajectory_tokens(tree, trajectory.leaf);
  tokens.insert(tokens.end(), response.begin(), response.begin() + trajectory.given_tokens);
}

}  // namespace

std::vector<Row> rows_of(const TreeRecord& tree, const CreditParams& credit) {
  std::vector<Row> rows;
  for (const TrajectoryCredit& trajectory : credit_of(tree, credit)) {
    if (trajectory.trained_tokens == 0) continue;
    Row row;
    row.tokens = tree.problem.prompt_tokens;
    append_given(tree, trajectory, row.tokens);
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
    const std::ptrdiff_t first = trajectory.first_trained;
    row.advantages.assign(advantages.begin() + first, advantages.begin() + trajectory.trained_tokens);
    row.n_prompt += first;
    row.behaviour.erase(row.behaviour.begin(), row.behaviour.begin() + first);
    if (!row.versions.empty()) row.versions.erase(row.versions.begin(), row.versions.begin() + first);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace deepsearch
