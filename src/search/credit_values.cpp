#include "search/credit_values.h"

#include <map>
#include <utility>

namespace deepsearch {

namespace {

// What lies below a node: V and whether anything right does.
struct Below {
  double sum = 0;
  int64_t count = 0;
  int64_t correct = 0;
  double value() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
};

// For each node the one that stands for it: itself, or with `merge` the first of its siblings (cousins, below merged
// parents) that holds the same tokens.
std::vector<int32_t> stand_ins(const TreeRecord& record, bool merge) {
  std::vector<int32_t> stands(record.nodes.size());
  std::map<std::pair<int32_t, std::vector<Token>>, int32_t> first;
  for (size_t id = 0; id < record.nodes.size(); ++id) {
    const NodeRecord& node = record.nodes[id];
    stands[id] = static_cast<int32_t>(id);
    if (!merge || node.parent < 0) continue;
    const auto begin = record.tokens.begin() + node.first_token;
    std::pair key{stands[static_cast<size_t>(node.parent)], std::vector<Token>(begin, begin + node.n_tokens)};
    stands[id] = first.try_emplace(std::move(key), stands[id]).first->second;
  }
  return stands;
}

}  // namespace

void credit_by_values(const TreeRecord& record, const CreditParams& params, std::vector<TrajectoryCredit>& group) {
  const std::vector<int32_t> stands = stand_ins(record, params.merge_identical);
  const auto stand_in = [&](int32_t id) { return static_cast<size_t>(stands[static_cast<size_t>(id)]); };
  std::vector<Below> below(record.nodes.size());
  std::vector<double> rewards;
  CreditParams everything = params;
  everything.terminals = Terminals::kAll;
  everything.credit = Credit::kNode;
  for (const TrajectoryCredit& terminal : credit_of(record, everything)) {
    rewards.push_back(terminal.reward + terminal.overlong_penalty);
    const auto add = [&](size_t node) {
      below[node].sum += rewards.back();
      ++below[node].count;
      if (terminal.outcome == Outcome::kCorrect) ++below[node].correct;
    };
    add(0);
    for (const int32_t id : terminal.path) add(stand_in(id));
  }
  const AdvantageNorm norm =
      params.advantage_norm == AdvantageNorm::kMeanStd ? AdvantageNorm::kMeanStd : AdvantageNorm::kMean;
  const double scale = baseline_of(rewards, norm, Deviation::kPopulation).scale;
  const double root = below.empty() ? 0 : below[0].value();
  for (TrajectoryCredit& trajectory : group) {
    size_t parent = 0;
    for (const int32_t id : trajectory.path) {
      const size_t node = stand_in(id);
      const double value = below[node].value();
      double advantage = value - root;
      if (params.credit == Credit::kEdge) advantage += value - below[parent].value();
      if (below[parent].correct == 0) advantage = 0;
      trajectory.scores.push_back(value);
      trajectory.advantages.push_back(advantage * scale);
      parent = node;
    }
  }
}

}  // namespace deepsearch
