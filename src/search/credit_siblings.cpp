#include "search/credit_siblings.h"

#include <cmath>
#include <utility>

namespace deepsearch {

namespace {

enum class Judged : uint8_t { kUndecided, kRight, kWrong };

std::vector<Judged> judge(const TreeRecord& record) {
  std::vector<Judged> judged(record.nodes.size(), Judged::kUndecided);
  for (size_t id = record.nodes.size(); id-- > 1;) {  // children have larger numbers than their parents
    const NodeRecord& node = record.nodes[id];
    if (node.dropped) continue;  // by the safeguard
    const bool correct = node.terminal && node.outcome == Outcome::kCorrect;
    const bool failed = node.terminal ? node.outcome != Outcome::kNone : node.expanded >= 0;
    if (correct) judged[id] = Judged::kRight;
    if (failed && judged[id] == Judged::kUndecided) judged[id] = Judged::kWrong;
    if (judged[id] == Judged::kRight && node.parent > 0) judged[static_cast<size_t>(node.parent)] = Judged::kRight;
  }
  return judged;
}

// Of the decided children of every node.
struct Siblings {
  int64_t right = 0;
  int64_t wrong = 0;
  double advantage(bool is_right, AdvantageNorm norm) const {
    const double share = static_cast<double>(right) / static_cast<double>(right + wrong);
    const double mean = norm == AdvantageNorm::kNone ? 0 : 2 * share - 1;
    const double deviation = norm == AdvantageNorm::kMeanStd ? 2 * std::sqrt(share * (1 - share)) : 1;
    return deviation == 0 ? 0 : ((is_right ? 1 : -1) - mean) / deviation;
  }
};

TrajectoryCredit trajectory_to(const TreeRecord& record, int32_t end, bool whole) {
  TrajectoryCredit trajectory;
  trajectory.leaf = end;
  trajectory.outcome = whole ? Outcome::kCorrect : Outcome::kWrong;
  trajectory.reward = whole ? 1 : -1;
  trajectory.path = path_to(record, end);
  for (const int32_t id : trajectory.path) {
    trajectory.path_tokens.push_back(record.nodes[static_cast<size_t>(id)].n_tokens);
    trajectory.tokens += trajectory.path_tokens.back();
  }
  trajectory.trained_tokens = trajectory.tokens;
  if (!whole) trajectory.first_trained = trajectory.tokens - trajectory.path_tokens.back();
  return trajectory;
}

}  // namespace

void credit_by_siblings(const TreeRecord& record, const CreditParams& params, std::vector<TrajectoryCredit>& group) {
  group.clear();
  const std::vector<Judged> judged = judge(record);
  std::vector<Siblings> children(record.nodes.size());
  for (size_t id = 1; id < record.nodes.size(); ++id) {
    Siblings& siblings = children[static_cast<size_t>(record.nodes[id].parent)];
    if (judged[id] == Judged::kRight) ++siblings.right;
    if (judged[id] == Judged::kWrong) ++siblings.wrong;
  }
  for (size_t id = 1; id < record.nodes.size(); ++id) {
    const NodeRecord& node = record.nodes[id];
    const bool solution = node.terminal && judged[id] == Judged::kRight;
    const bool mistake = judged[id] == Judged::kWrong && children[static_cast<size_t>(node.parent)].right > 0;
    if (!solution && !mistake) continue;
    TrajectoryCredit trajectory = trajectory_to(record, static_cast<int32_t>(id), solution);
    for (const int32_t step : trajectory.path) {
      const auto at = static_cast<size_t>(step);
      const bool right = judged[at] == Judged::kRight;
      const Siblings& siblings = children[static_cast<size_t>(record.nodes[at].parent)];
      trajectory.scores.push_back(right ? 1 : -1);
      trajectory.advantages.push_back(siblings.advantage(right, params.advantage_norm));
    }
    group.push_back(std::move(trajectory));
  }
}

}  // namespace deepsearch
