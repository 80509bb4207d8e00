// How a run stands, read from its folder alone: what slurm/attempt.sh leaves in log/, and what run.h5 says. Live runs
// too.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace deepsearch {

enum class PointState {
  kWaiting,  // no attempt yet
  kQueued,   // attempted, and its job waits to go on
  kRunning,
  kStopped,  // with a checkpoint; nobody is about to go on with it
  kFailed,
  kDropped,  // by successive halving
  kDone,
};
const char* to_string(PointState state);

// log/attempt-N/start: where an attempt runs.
struct AttemptStart {
  std::string host;
  int64_t pid = 0;
  std::string job;  // Slurm's id; "": none
};

enum class Alive { kGone, kQueued, kRunning };
// Of an attempt, or of a run that had none yet (then `job` only).
using AliveQuery = std::function<Alive(const AttemptStart&)>;

// By this host's processes: an attempt elsewhere, or in a job, counts as gone.
Alive alive_here(const AttemptStart& start);

struct RunStatus {
  PointState state = PointState::kWaiting;
  int64_t attempts = 0;
  int64_t step = 0;  // done, by run.h5
  double best = 0;   // held-out Pass@1, the best evaluation; NaN: none
  int64_t best_step = 0;
  std::string reason;  // why it failed or was dropped
};
RunStatus run_status(const std::filesystem::path& run, const AliveQuery& alive);

// The newest evaluation's Pass@1 at or before `step`; NaN: none.
double score_at(const std::filesystem::path& run, int64_t step);

bool is_done(const std::filesystem::path& run);

}  // namespace deepsearch
