// What happened in a simulated cluster, by the simulation or by real processes. Plain values; simulated seconds.
#pragma once

#include <cstdint>
#include <vector>

#include "data/tree_record.h"
#include "schedule/sharing.h"
#include "simulate/timed_engine.h"

namespace deepsearch {

struct StepTrace {
  double begin = 0;              // its problems were there to be given out
  std::vector<double> finished;  // when the coordinator had each tree, ascending
  double learn_end = 0;          // the learner was done with it
  double end = 0;                // and every rank had the new weights
  int64_t trained_tokens = 0;    // real tokens of recorded trajectories, common prefixes once
  double searched() const { return finished.empty() ? begin : finished.back(); }
};

struct RankTrace {
  std::vector<BusyPeriod> busy;  // engine at work
  TimedCounters engine;          // in simulated tokens
  SharingCounters sharing;
  double late_seconds = 0;  // real processes: simulated time lost because they were not run in time
};

struct ClusterTrace {
  std::vector<StepTrace> steps;
  std::vector<RankTrace> ranks;
  int64_t messages_in = 0;  // at the coordinator
  int64_t messages_out = 0;
  int64_t messages = 0;            // sent between any two ranks, those included
  int64_t messages_received = 0;   // of them
  int64_t bytes = 0;               // of all messages, weights apart
  double coordinator_seconds = 0;  // at work
  int64_t leases_made = 0;
};

// Simulated tokens of a record's recorded trajectories, what several have in common counted once.
int64_t trained_tokens(const TreeRecord& record);

}  // namespace deepsearch
