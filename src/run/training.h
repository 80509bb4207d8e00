// Training: the coordinator's loop, the one to read first.
//
//   evaluate the base policy
//   for each step:  grow a batch of trees ► choose what teaches ► train ► publish the new policy ► (evaluate, save)
//
// With [rounds] each round begins with a filter, in waves, and the batch comes from what is hard (run/rounds_driver.h).
// The run ends after [learn].steps, or before where its budget is spent, [eval].stop_at is reached or no problem is
// hard any more.
//
// With [learn].max_staleness > 0 the batch comes from a stream of trees that grow while the learner learns
// (run/tree_stream.h).
//
// Everything a reader of the run sees later (run.h5, progress, checkpoints) is written from here. One thread.
//
// A run is stopped by a signal or by its time limit, and can go on from a checkpoint: `state_` is always that of the
// last step boundary, and what happened since counts only when the step ends (docs/resume.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/progress.h"
#include "core/timer.h"
#include "data/language.h"
#include "learn/trainer.h"
#include "run/batch.h"
#include "run/checkpoint_state.h"
#include "run/checkpoints.h"
#include "run/config.h"
#include "run/coordinator.h"
#include "run/evaluation.h"
#include "run/finished_trees.h"
#include "run/metric_rows.h"
#include "run/problem_source.h"
#include "run/rounds_driver.h"
#include "run/spending.h"
#include "run/time_budget.h"
#include "run/tree_stream.h"
#include "schedule/hand_over.h"
#include "store/run_writer.h"

namespace deepsearch {

class Training {
 public:
  // All references outlive it. `state` is where the run stands, and the trainer with it; `finished` are trees of what
  // comes next that need not be grown again. `rounds`: null without them; else where `state` stands.
  Training(const Config& config, const Language& language, const ProblemSource& problems, const World& world,
           Coordinator& coordinator, Trainer& trainer, RunWriter& store, const std::filesystem::path& folder,
           RunState state, std::vector<TreeRecord> finished, RoundsDriver* rounds);

  // False: stopped by request before the last step.
  bool run();
  // Ends the growing of trees, also of those that were begun for steps to come, before a checkpoint that is the run's
  // last for now.
  void halt() { lost_ = coordinator_.halt(); }
  // The last step boundary as checkpoints/step-NNNNNN, with the finished trees since; not again when that is there.
  // With `may_fail` a failure may be a warning ([run].on_checkpoint_failure).
  void save_checkpoint(bool may_fail = false);
  // Rows for the reports that have come since the last step; with `wait`, after a moment's sleep if there are none.
  void record_search(bool wait = false);

  int64_t steps_done() const { return state_.step; }
  const std::vector<Evaluation>& evaluations() const { return state_.evaluations; }
  double elapsed() const { return state_.elapsed + elapsed_.seconds(); }  // all attempts

 private:
  // The learner's part of a step. False: stopped by request before its end; nothing of it counts.
  bool learn(const StepBatch& batch, TrainStats& stats);
  bool one_step();
  // One wave of the round's filter. False: interrupted.
  bool filter_wave();
  bool at_end() const;
  bool reached_target() const;
  std::string why_ended() const;  // before [learn].steps; "" otherwise
  bool evaluation_due() const;
  bool evaluate_now();
  // Grows the items that no earlier attempt has finished; records in key order. False: interrupted; what was finished
  // is then in unfinished_.
  bool grow(std::vector<AssignMessage::Item> items, const std::string& detail, std::vector<TreeRecord>& grown);
  void report_step(const StepBatch& batch, const TrainStats& stats, const StepSeconds& seconds,
                   const RoundsRow& rounds);
  // Grows waves of new problems until the step's batch is full or the waves are spent. False: interrupted.
  bool grow_batch(StepBatch& batch, std::vector<TreeRecord>& grown);
  bool gather_batch(StepBatch& batch, std::vector<TreeRecord>& used);
  AssignMessage::Item make_item(int64_t problem, TreeKey key);
  void remember(std::vector<TreeRecord> grown);
  int64_t tokens_generated() const;
  RunTotals totals() const;
  Spending spending() const;
  double share_done() const;
  void show_progress(const std::string& detail);

  const Config& config_;
  const ProblemSource& problems_;
  const World& world_;
  Coordinator& coordinator_;
  Trainer& trainer_;
  RunWriter& store_;
  RoundsDriver* rounds_;
  RunState state_;          // at the last step boundary; `elapsed` when this attempt began
  HandOver hand_over_;      // of the steps so far
  FinishedTrees finished_;  // by an earlier attempt, not used yet
  // Current policy; the coordinator may still be sending it.
  std::shared_ptr<const ModelWeights> weights_;
  int64_t first_step_;                  // where this attempt began
  int64_t next_problem_ = 0;            // index in the training split, in this step
  int64_t earlier_tokens_ = 0;          // generated by earlier attempts
  std::vector<TreeRecord> unfinished_;  // grown since the boundary, when that was interrupted
  std::set<int> lost_;                  // search ranks that did not answer at the end: their trees may not be on disk
  std::optional<OptimizerState> held_;  // of the boundary, while a single learner learns
  Checkpoints checkpoints_;
  TimeBudget budget_;
  using Place = std::tuple<int64_t, int64_t, int64_t>;  // step, evaluated step, waves of filters
  Place saved_{-1, -1, -1};                             // of the last checkpoint
  int64_t waves_ = 0;                                   // in this attempt
  int64_t reports_ = 0;                                 // of search ranks for the current step
  int64_t shown_tokens_ = 0;
  double logged_ = 0;
  double checkpoint_seconds_ = 0;                          // since the last row
  std::optional<TreeStream> stream_;                       // max_staleness > 0
  std::map<int64_t, std::vector<TreeRecord>> unreported_;  // by step: trees whose ranks' reports have not come yet
  Stopwatch elapsed_;
  std::string detail_;
  Progress progress_;
};

}  // namespace deepsearch
