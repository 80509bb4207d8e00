// Solutions that a tree found where all direct rollouts of a problem had failed, put back among these rollouts. Pure.
#pragma once

#include "data/tree_record.h"

namespace deepsearch {

// The group of `rollouts` with the tree's recorded correct trajectories behind them, in order of recording: what the
// group would be had they been sampled there. Tokens, log-probs and versions are the tree's, since each of its steps
// was sampled by the policy after the steps before it; that search chose which of them to go on with is not accounted
// for. Rewards are taken as recorded. Both records are of one key.
TreeRecord rescued_group(TreeRecord rollouts, const TreeRecord& tree);

}  // namespace deepsearch
