#include "run/checkpoints.h"

#include <optional>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/progress.h"
#include "run/checkpoint_folder.h"
#include "run/checkpoint_optimizer.h"
#include "run/setup.h"

namespace deepsearch {

Checkpoints::Checkpoints(const Config& config, const Language& language, Coordinator& coordinator,
                         std::filesystem::path run, double seconds)
    : config_(config), language_(language), coordinator_(coordinator), run_(std::move(run)), seconds_(seconds) {}

bool Checkpoints::due(int64_t step) const {
  const int64_t every = config_.learn.checkpoint_every;
  return (every > 0 && step % every == 0) || due_by_time();
}

bool Checkpoints::due_by_time() const {
  const double minutes = config_.run.checkpoint_minutes;
  return minutes > 0 && since_last_.seconds() >= 60 * minutes;
}

void Checkpoints::write(const RunState& state, const ModelWeights& policy, const OptimizerState& own,
                        const std::vector<TreeRecord>& trees) {
  const std::filesystem::path folder = begin_checkpoint(run_, state.step);
  coordinator_.save(folder, state.step);
  std::optional<Error> failed;
  try {
    save_policy(folder, policy, language_);
    write_optimizer_state(folder, own);
    if (!trees.empty()) write_trees(folder / "resume" / "trees.bin", trees);
    write_rounds(folder, state);
    write_file_atomically(folder / "resume" / "run.json", run_state_to_json(state));
  } catch (const Error& error) {
    failed = error;
  }
  const std::string theirs = coordinator_.saved();  // in any case: nobody writes into the folder any more
  if (failed) throw Error(*failed);
  if (!theirs.empty()) throw Error(theirs, kExitBadInput);
  publish_checkpoint(run_, state.step);
  remove_surplus(state.step);
}

bool Checkpoints::save(const RunState& state, const ModelWeights& policy, const OptimizerState& own,
                       const std::vector<TreeRecord>& trees, bool may_fail) {
  const Stopwatch watch;
  since_last_.restart();
  try {
    write(state, policy, own, trees);
  } catch (const Error& error) {
    try {
      clean_checkpoints(run_);
    } catch (const Error&) {  // the next attempt tries it too
    }
    if (!may_fail || config_.run.on_checkpoint_failure != "continue") {
      throw error.within(fmt::format("the checkpoint after step {} was not written, the one before stays", state.step));
    }
    log_warning("step {}: no checkpoint, the run goes on ([run].on_checkpoint_failure): {}", state.step, error.what());
    return false;
  }
  seconds_ = watch.seconds();
  since_last_.restart();
  const std::string kept = trees.empty() ? "" : fmt::format(", {} finished trees", trees.size());
  log_info("step {}: saved checkpoints/{} in {}{}", state.step, checkpoint_path(run_, state.step).filename().string(),
           format_duration(seconds_), kept);
  return true;
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
