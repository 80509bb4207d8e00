// Credit by values (experiments.md, "Credit"): V(s) is the mean reward over all judged terminals below s, recorded or
// not. Pure.
//
// Sources: values of steps from what was sampled below them, VinePPO (Kazemnejad et al. 2024, arXiv 2410.01679) and
// TreeRPO (Yang et al. 2025, arXiv 2506.05183); edge, the sum of a local and a global advantage, TreeRL (Hou et al.
// 2025, arXiv 2506.11902); value_prior, the m-estimate (Cestnik 1990, "Estimating probabilities: a crucial task in
// machine learning").
#pragma once

#include <vector>

#include "search/credit.h"

namespace deepsearch {

// Fills path_tokens, scores (V), advantages and trained_tokens of the trajectories of `group`:
//   subtree  V(s) − V(root)
//   edge     (V(s) − V(parent)) + (V(s) − V(root))
// under "mean_std" over (the population deviation of the terminals at the root + 1e-6); "none" and "mean" are the same
// here. Overlong penalties are part of a terminal's reward. Where all rewards are equal, every advantage is 0.
//
// dead            below a node without any correct terminal nothing tells right from wrong: the advantage is 0, and
// with
//                 skip_dead the tokens are left out. The step into a dead subtree is judged, by its siblings.
// merge_identical siblings of the same tokens are one node, and so are their children of the same tokens.
// merge_prefixes  direct rollouts: texts of the same tokens are one node, ends of steps and places where rollouts part
//                 being nodes; a step in which rollouts part is so cut in two. Trees keep their own nodes.
// value_prior m   V(s) = (sum of rewards + m·V(parent))/(terminals + m) where terminals lie *below* s; at a terminal
//                 the reward is exact. A node without terminals has its parent's value.
void credit_by_values(const TreeRecord& record, const CreditParams& params, std::vector<TrajectoryCredit>& group);

}  // namespace deepsearch
