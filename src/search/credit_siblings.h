// Credit among siblings: a step against those that were sampled at the same place. Pure.
//
// A step is right when a correct terminal is at or below it (the hard estimate of Math-Shepherd, Wang et al. 2024,
// arXiv 2312.08935), wrong when it was judged wrong, or searched without finding one, and undecided when search passed
// it by. Its score is +1, −1 or none, its advantage the score minus the mean over its decided siblings, itself
// included; "mean_std" divides by their population deviation too. So the places where search found a solution teach at
// every depth, whatever the chance to get from there to the end without search.
#pragma once

#include <vector>

#include "search/credit.h"

namespace deepsearch {

// Replaces `group`, the trajectories of the tree `record`, by those that hold its judged steps, by node number of their
// leaves: the correct ones whole; and for each other decided step with a right sibling one trajectory that ends with
// it, of which only this step is trained on (first_trained). Its outcome is kWrong. Empty without a correct terminal.
void credit_by_siblings(const TreeRecord& record, const CreditParams& params, std::vector<TrajectoryCredit>& group);

}  // namespace deepsearch
