// What a step trains on, chosen from the records that came back. Pure, so that the rule is tested without ranks: the
// batch depends on the records only, not on the order in which they arrived.
#pragma once

#include <cstdint>
#include <vector>

#include "data/tree_record.h"
#include "learn/rows.h"
#include "search/credit.h"

namespace deepsearch {

struct StepBatch {
  std::vector<TreeRecord> trees;  // by key; one a problem
  int64_t uniform = 0;            // of `seen`: all trajectories right, or none
  int64_t solved = 0;             // of `seen`: some terminal is correct
  int64_t seen = 0;               // problems
  int64_t dropped = 0;            // problems left out because their trees were too old ([learn].max_staleness)
  double hand_over_ratio = -1;    // that the step went by (schedule/hand_over.h)
};

// Of each problem the record that teaches: the tree where there is one, else the group; with [learn].rescue = "group"
// the group with the tree's solutions in it; with [search].branch_rollouts those where there are any. Left out are
// records of which no token enters the loss (no trajectory, all filtered by overlong, all dead by skip_dead), and with
// skip_uniform uniform ones. At most `wanted`, in key order.
StepBatch choose_batch(const std::vector<TreeRecord>& records, int64_t wanted, const CreditParams& credit);

// The rows of each optimiser update, `per_update` problems each.
std::vector<std::vector<Row>> minibatches_of(const std::vector<TreeRecord>& trees, int64_t per_update,
                                             const CreditParams& credit);

}  // namespace deepsearch
