// Credit by values (experiments.md, "Credit"): V(s) is the mean reward over all judged terminals below s, recorded or
// not. Pure.
#pragma once

#include <vector>

#include "search/credit.h"

namespace deepsearch {

// Fills scores (V) and advantages of the trajectories of `group`:
//   subtree  V(s) − V(root)
//   edge     (V(s) − V(parent)) + (V(s) − V(root))
// under "mean_std" over (the population deviation of the terminals at the root + 1e-6); "none" and "mean" are the same
// here. Below a node without any correct terminal nothing tells right from wrong: the advantage is 0. With
// merge_identical, siblings of the same tokens are one node. Overlong penalties are part of a terminal's reward.
void credit_by_values(const TreeRecord& record, const CreditParams& params, std::vector<TrajectoryCredit>& group);

}  // namespace deepsearch
