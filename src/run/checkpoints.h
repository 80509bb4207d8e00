// Writes a run's checkpoints, from the coordinator, and says when one is due. Other learners write their parts when the
// coordinator asks them to. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "core/timer.h"
#include "data/language.h"
#include "data/tree_record.h"
#include "learn/optimizer_state.h"
#include "model/weights.h"
#include "run/checkpoint_state.h"
#include "run/config.h"
#include "run/coordinator.h"

namespace deepsearch {

class Checkpoints {
 public:
  // References outlive it. `seconds`: what the last one of an earlier attempt took, 0 if there was none.
  Checkpoints(const Config& config, const Language& language, Coordinator& coordinator, std::filesystem::path run,
              double seconds);

  // At the boundary after `step`: by steps or by time.
  bool due(int64_t step) const;
  bool due_by_time() const;  // between them

  // All learners are at the boundary that `state` is of; `own` is the coordinator's part of the optimiser. `trees` are
  // finished ones of what follows. Deletes older checkpoints as [run] wants. On a failure what was written of it is
  // removed and the checkpoint before stays; then, unless it `may_fail` and [run].on_checkpoint_failure allows that
  // (false is returned), the Error is thrown.
  bool save(const RunState& state, const ModelWeights& policy, const OptimizerState& own,
            const std::vector<TreeRecord>& trees, bool may_fail);

  double seconds() const { return seconds_; }  // the last one took

 private:
  void write(const RunState& state, const ModelWeights& policy, const OptimizerState& own,
             const std::vector<TreeRecord>& trees);
  void remove_surplus(int64_t step) const;

  const Config& config_;
  const Language& language_;
  Coordinator& coordinator_;
  std::filesystem::path run_;
  double seconds_;
  Stopwatch since_last_;
};

}  // namespace deepsearch
