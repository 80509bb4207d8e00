// The rows of run.h5's metrics tables, from what a step left behind. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "comm/messages.h"
#include "data/tree_record.h"
#include "learn/trainer.h"
#include "run/batch.h"
#include "run/evaluation.h"
#include "run/rounds_driver.h"
#include "store/metrics.h"

namespace deepsearch {

// Where a step's wall time went, at the coordinator. Seconds.
struct StepSeconds {
  double wait = 0;     // for trees
  double learn = 0;    // forward, backward, optimiser
  double weights = 0;  // publishing the policy, and the transfers that ended in the step (beside other work)
  double logging = 0;  // HDF5
  double checkpoint = 0;
  double total = 0;
};

// Since the run began.
struct RunTotals {
  double elapsed = 0;
  int64_t tokens_generated = 0;
  int64_t tokens_trained = 0;
};

MetricsRow learner_row(int64_t step, const StepBatch& batch, const TrainStats& stats, const StepSeconds& seconds,
                       const RunTotals& totals, int64_t skipped_steps, const RoundsRow& rounds = {});
MetricsRow eval_row(int64_t step, const Evaluation& evaluation, double temperature, const RunTotals& totals);
// `grown`: what this rank made in the step.
MetricsRow search_row(const ReportMessage& report, int rank, const std::vector<const TreeRecord*>& grown);

// The columns of the rows above, by table.
std::map<std::string, std::vector<std::string>> metric_row_tables();

}  // namespace deepsearch
