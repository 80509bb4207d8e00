// The last line of defence on every rank: a thread that looks whether the main thread gets on (core/activity.h). If it
// has reported no progress for too long it prints one line and ends the process; the launcher then ends the job.
//
//   search 3 (rank 3, host n07) is stuck in MPI_Isend to learner 0 (rank 4, host n08), phase searching, since 61 s
//
// What counts as too long: kEarly · `stuck_seconds` without any sign, a little less than others wait for a sign of this
// rank, since it knows best what it is stuck in. A process that waits for others which are known to be
// alive (report_waiting() with a WhileWaiting in place) has kAliveFactor times as long; set-up, and what is
// saved at the end by one rank while others wait for it, kSetUpFactor times. Time in which the process as a whole did
// not run (SIGSTOP, a suspended machine) does not count.
//
// The thread calls no MPI, takes no lock that the main thread may hold and touches none of its files: they are left as
// SIGKILL would leave them, which everything on disk is made for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "comm/world.h"
#include "core/activity.h"

namespace deepsearch {

constexpr double kEarly = 0.9;
constexpr double kAliveFactor = 10;
constexpr const char* kSetUpPhase = "setting up";
constexpr const char* kSavingPhase = "saving the result";

// The clock of a StuckWatch by itself. Pure.
class StallClock {
 public:
  // `limit`: without progress or sign. `longest_gap`: looks that lie farther apart count as so far apart.
  StallClock(double limit, double longest_gap, double now);
  // A look at the process. True: it is stuck.
  bool look(const Activity& seen, double now);
  double stalled() const { return stalled_; }  // seconds without progress

 private:
  double limit_;
  double longest_gap_;
  double last_;
  double stalled_ = 0;
  double unheard_ = 0;  // without progress or a sign of those it waits for
  uint64_t progress_ = 0;
  uint64_t waits_ = 0;
};

// "MPI_Isend to learner 0 (rank 4, host n08)"; "nothing that has a name" without an operation. `name_rank` describes a
// world rank.
std::string describe_operation(const Activity& seen, const std::function<std::string(int rank)>& name_rank);
// The line above, without its end.
std::string stuck_line(const std::string& who, const Activity& seen, double seconds,
                       const std::function<std::string(int rank)>& name_rank);

class StuckWatch {
 public:
  // Made on the main thread once roles are assigned, by [ranks].stuck_seconds; the calling thread speaks for the
  // process from now on.
  explicit StuckWatch(const World& world);
  ~StuckWatch();
  StuckWatch(const StuckWatch&) = delete;
  StuckWatch& operator=(const StuckWatch&) = delete;

  // The line also goes to the end of this file.
  void log_to(const std::filesystem::path& path);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepsearch
