// Training: the coordinator's loop, the one to read first.
//
//   evaluate the base policy
//   for each step:  grow a batch of trees ► choose what teaches ► train ► publish the new policy ► (evaluate, save)
//
// Everything a reader of the run sees later (run.h5, progress, checkpoints) is written from here. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/progress.h"
#include "core/timer.h"
#include "data/task.h"
#include "learn/trainer.h"
#include "run/batch.h"
#include "run/config.h"
#include "run/coordinator.h"
#include "run/evaluation.h"
#include "run/metric_rows.h"
#include "store/run_writer.h"

namespace deepsearch {

class Training {
 public:
  // All references outlive it. `start` is the base policy.
  Training(const Config& config, const Task& task, const ProblemSource& problems, const World& world,
           Coordinator& coordinator, Trainer& trainer, RunWriter& store, std::filesystem::path folder,
           const ModelWeights& start);

  // False: stopped by request before the last step.
  bool run();
  // The current policy as checkpoints/step-NNNNNN, in the Hugging Face layout.
  void save_checkpoint();
  // Rows for the reports that have come since the last step.
  void record_search();

  int64_t steps_done() const { return step_; }
  const std::vector<Evaluation>& evaluations() const { return evaluations_; }

 private:
  // The learner's part of a step. False: stopped by request before its end; nothing of it counts.
  bool learn(const StepBatch& batch, TrainStats& stats);
  bool one_step();
  bool evaluate_now();
  // Grows waves of new problems until the step's batch is full or the waves are spent. False: interrupted.
  bool grow_batch(StepBatch& batch, std::vector<TreeRecord>& grown);
  std::vector<AssignMessage::Item> next_problems(int64_t count, int64_t first_place);
  void remember(std::vector<TreeRecord> grown);
  RunTotals totals() const;

  const Config& config_;
  const Task& task_;
  const ProblemSource& problems_;
  const World& world_;
  Coordinator& coordinator_;
  Trainer& trainer_;
  RunWriter& store_;
  std::filesystem::path folder_;
  std::shared_ptr<const ModelWeights> weights_;  // current policy; the coordinator may still be sending it
  int64_t step_ = 0;                             // done; also the policy version
  int64_t next_problem_ = 0;                     // index in the training split
  int64_t tokens_trained_ = 0;
  int64_t evaluation_tokens_ = 0;  // not part of a run's cost
  int64_t shown_tokens_ = 0;
  double logged_ = 0;
  double checkpoint_seconds_ = 0;  // since the last row
  int64_t skipped_steps_ = 0;
  std::vector<Evaluation> evaluations_;
  std::map<int64_t, std::vector<TreeRecord>> unreported_;  // by step: trees whose ranks' reports have not come yet
  Stopwatch elapsed_;
  std::string detail_;
  Progress progress_;
};

}  // namespace deepsearch
