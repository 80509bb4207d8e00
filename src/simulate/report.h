// Figures of a simulated cluster, from a trace, and what they are measured against.
#pragma once

#include <cstdint>
#include <vector>

#include "simulate/params.h"
#include "simulate/trace.h"

namespace deepsearch {

// What no schedule can beat. `work_seconds`: all of a step's decoding in full batches, spread evenly over the ranks.
// `longest_seconds`: the longest of its trees alone on an idle rank, whose expansions wait for each other.
struct IdealStep {
  double work_seconds = 0;
  double longest_seconds = 0;
  double sequence_tokens = 0;    // decoded, real tokens
  double mean_tree_seconds = 0;  // a tree alone
  double seconds() const { return work_seconds > longest_seconds ? work_seconds : longest_seconds; }
};

// Grows each tree of each step alone.
std::vector<IdealStep> ideal_steps(const ClusterParams& params);

// Means over the steps; times in simulated seconds. A rank is busy while its engine decodes.
struct ClusterFigures {
  double step_seconds = 0;
  double search_seconds = 0;  // until the last tree has come
  double ideal_seconds = 0;
  double ratio = 0;       // search_seconds / ideal_seconds
  double busy_mean = 0;   // share of the time until 95 % of a step's trees were there, over ranks
  double busy_min = 0;    // of the least busy rank
  double whole_mean = 0;  // … until all were there
  double whole_min = 0;
  // Where an average rank's step goes; they add up to step_seconds.
  double decoding = 0;
  double starting = 0;  // before its first decode step
  double starved = 0;   // idle in between, until 95 % of the trees were there
  double tail = 0;      // idle after that
  double learning = 0;  // the learner at work
  double publishing = 0;
  // Queues: sequences on an engine while it is busy.
  double batch = 0;              // decoded together
  double waiting = 0;            // for a place in the batch
  double tokens_per_second = 0;  // decoded by all ranks, real tokens, while searching
  // Coordinator.
  double messages_per_second = 0;  // in and out, while searching
  double coordinator_busy = 0;     // share of the search
  double leases = 0;               // a step
  // Sharing.
  double lent_share = 0;    // of the tokens: made for another rank's tree
  double resent_share = 0;  // prefix tokens sent to helpers, of the tokens decoded
  double messages = 0;      // a step, between any two ranks
  double messages_received = 0;
  double gigabytes = 0;
  double late_share = 0;  // real processes: lateness of decode steps, of busy time
};

ClusterFigures figures_of(const ClusterParams& params, const ClusterTrace& trace, const std::vector<IdealStep>& ideal);

}  // namespace deepsearch
