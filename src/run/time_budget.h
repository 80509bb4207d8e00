// How long a run may go on: [run].time_limit and the end of a Slurm job, whichever comes first, less what a checkpoint
// and the end of the program take. One thread.
#pragma once

#include <cstdint>
#include <string>

namespace deepsearch {

// "5400", "90:00", "01:30:00" or "1-06:00:00" as seconds. bad_input naming `key` for anything else, and for 0.
double parse_duration(const std::string& text, const std::string& key);

// What is left of a Slurm job by SLURM_JOB_END_TIME (seconds since 1970; null: not in a job) when it is `now`. The one
// place where a wall clock decides something, and a clock can be wrong by hours: a time that has passed, or is years
// ahead, is no limit but a warning, since a limit of nothing would have the job stop and requeue itself for ever.
struct SlurmTime {
  double seconds = 0;  // 0: no limit
  std::string warning = {};
};
SlurmTime slurm_time_left(const char* end_time, int64_t now);

class TimeBudget {
 public:
  // Times in seconds of the same clock. `limit`: from `start` on, 0 for none.
  TimeBudget(double start, double limit, double checkpoint_seconds);
  // From the configuration and the environment (SLURM_JOB_END_TIME, seconds since 1970; a warning in the log
  // where that cannot be); starts now, and from then on looks at a clock that does not jump.
  static TimeBudget of_run(const std::string& time_limit, double checkpoint_seconds);

  void took_checkpoint(double seconds) { checkpoint_seconds_ = seconds; }
  double checkpoint_seconds() const { return checkpoint_seconds_; }

  // There is no time for `work` seconds more with a checkpoint after them.
  bool over(double now, double work = 0) const;
  // Where there is none now, asks for a stop as a signal would (core/signals.h). True: the run is to stop, whoever
  // asked.
  bool stopping(double work = 0) const;

 private:
  double start_;
  double limit_;
  double checkpoint_seconds_;
};

}  // namespace deepsearch
