#include "schedule/hand_over.h"

#include <algorithm>

namespace deepsearch {

bool HandOver::wanted(int64_t place) const {
  if (gain_ <= 0 || place % kProbe == 0) return true;
  const double ratio = this->ratio();
  return ratio < 0 || ratio >= gain_;
}

// Fewer than one found counts as one: what was spent in vain is a bound from below.
double HandOver::ratio() const {
  if (tally_.tree_tokens <= 0 || tally_.rollout_tokens <= 0) return -1;
  const double group = tally_.rollout_tokens / std::max(tally_.mixed_groups, 1.0);
  const double tree = tally_.tree_tokens / std::max(tally_.solved_trees, 1.0);
  return group / tree;
}

void HandOver::step_done(const std::vector<TreeRecord>& grown) {
  for (double* const sum : {&tally_.rollout_tokens, &tally_.mixed_groups, &tally_.tree_tokens, &tally_.solved_trees}) {
    *sum *= kDecay;
  }
  for (const TreeRecord& record : grown) {
    const auto tokens = static_cast<double>(record.tokens_generated);
    const auto right = [](const RecordedLeaf& leaf) { return leaf.outcome == Outcome::kCorrect; };
    const bool any = std::any_of(record.recorded.begin(), record.recorded.end(), right);
    if (record.kind == RecordKind::kRollouts) {
      tally_.rollout_tokens += tokens;
      if (any && !std::all_of(record.recorded.begin(), record.recorded.end(), right)) ++tally_.mixed_groups;
    } else if (record.kind == RecordKind::kTree) {
      tally_.tree_tokens += tokens;
      if (any) ++tally_.solved_trees;
    }
  }
}

}  // namespace deepsearch
