#include "run/checkpoints.h"

#include <utility>

#include "core/files.h"
#include "core/log.h"
#include "core/progress.h"
#include "run/checkpoint_folder.h"
#include "run/checkpoint_optimizer.h"
#include "run/setup.h"

namespace deepsearch {

Checkpoints::Checkpoints(const Config& config, const Task& task, Coordinator& coordinator, std::filesystem::path run,
                         double seconds)
    : config_(config), task_(task), coordinator_(coordinator), run_(std::move(run)), seconds_(seconds) {}

bool Checkpoints::due(int64_t step) const {
  const int64_t every = config_.learn.checkpoint_every;
  const double minutes = config_.run.checkpoint_minutes;
  return (every > 0 && step % every == 0) || (minutes > 0 && since_last_.seconds() >= 60 * minutes);
}

void Checkpoints::save(const RunState& state, const ModelWeights& policy, const OptimizerState& own,
                       const std::vector<TreeRecord>& trees) {
  const Stopwatch watch;
  const std::filesystem::path folder = begin_checkpoint(run_, state.step);
  coordinator_.save(folder, state.step);
  save_policy(folder, policy, task_);
  write_optimizer_state(folder, own);
  if (!trees.empty()) write_trees(folder / "resume" / "trees.bin", trees);
  write_file_atomically(folder / "resume" / "run.json", run_state_to_json(state));
  coordinator_.saved();
  publish_checkpoint(run_, state.step);
  remove_surplus(state.step);
  seconds_ = watch.seconds();
  since_last_.restart();
  const std::string kept = trees.empty() ? "" : fmt::format(", {} finished trees", trees.size());
  log_info("step {}: saved checkpoints/{} in {}{}", state.step, checkpoint_path(run_, state.step).filename().string(),
           format_duration(seconds_), kept);
}

void Checkpoints::remove_surplus(int64_t step) const {
  std::vector<int64_t> steps = checkpoint_steps(run_);
  std::erase_if(steps, [step](int64_t other) { return other > step; });  // broken ones, or it would be the newest
  const KeepCheckpoints keep{.newest = config_.run.keep_checkpoints,
                             .every = config_.run.keep_every,
                             .made_every = config_.learn.checkpoint_every};
  for (const int64_t old : surplus_checkpoints(steps, keep)) remove_checkpoint(run_, old);
}

}  // namespace deepsearch
