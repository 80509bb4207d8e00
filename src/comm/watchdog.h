// Who has been silent for too long. The coordinator keeps a Watchdog over all ranks and feeds it every message; each
// other rank keeps a HeartbeatSender, ticks it wherever its loop comes round, and by it watches the coordinator, which
// gives signs of life too. In long waits that say so (core/activity.h) both go on. Time is seconds on the caller's
// monotonic clock (core/timer.h), passed in. One thread each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/messages.h"
#include "core/activity.h"

namespace deepsearch {

class Mailbox;
class World;

class Watchdog {
 public:
  struct Rank {
    int rank = -1;     // world rank
    std::string name;  // "search 3"
    std::string host;
    bool heard_from = false;
    double last_heard = 0;  // when; the watch's start before the first heartbeat
    HeartbeatMessage last;  // as of then
  };

  // Watches `ranks` from `now` on. stuck_seconds > 0: longer silence is reported, before a rank's first sign of life
  // kSetUpFactor times that.
  Watchdog(std::vector<Rank> ranks, double stuck_seconds, double now);
  // Every rank of `world`, by its [ranks].stuck_seconds.
  Watchdog(const World& world, double now);

  // Any message from a rank is a sign of life; a heartbeat also says what it is doing. Unknown ranks: failure().
  void heard(int rank, const HeartbeatMessage& heartbeat, double now);
  void heard(int rank, double now);
  // All that had come by `now` has been told: to be called before silent(). Time between two calls in which nobody
  // could be heard (more than a quarter of the limit) is nobody's silence.
  void listened(double now);

  struct Silent {
    int rank = -1;
    double seconds = 0;
    // "search 3 (rank 3, host n07) has been silent for 61.2 s (limit 60 s); it was last in phase 'searching' (for 12.0
    // s), in MPI_Ibcast with learner 0 (rank 4, host n08) (for 3.0 s)"
    std::string text;
  };
  // The rank that has been silent longest, if any is over the limit.
  std::optional<Silent> silent(double now) const;

  const std::vector<Rank>& ranks() const { return ranks_; }

 private:
  Rank& at(int rank);
  std::vector<Rank> ranks_;
  double stuck_seconds_;
  double listened_;
};

// What this rank is doing, from core/activity.h; without the counters.
HeartbeatMessage sign_of_life(const World& world);

class HeartbeatSender {
 public:
  // Both must outlive it. Interval: [ranks].heartbeat_seconds as given to assign_roles. On a rank other than the
  // coordinator it listens to the mailbox's arrivals, and ends the job when the coordinator has been silent for
  // [ranks].stuck_seconds.
  HeartbeatSender(World& world, Mailbox& mailbox);
  ~HeartbeatSender();
  HeartbeatSender(const HeartbeatSender&) = delete;
  HeartbeatSender& operator=(const HeartbeatSender&) = delete;

  // A new phase is reported at once, so that the coordinator knows it even when the phase is the last thing heard of.
  void enter_phase(const std::string& phase, double now);
  // Sends when an interval has passed since the last one; the main thread has come round. Counters are totals since the
  // start.
  void tick(int64_t trees_done, int64_t tokens_generated, double busy_seconds, double now);
  int64_t sent() const { return sent_; }

 private:
  void send(double now);
  void look_at_coordinator(double now);
  World& world_;
  Mailbox& mailbox_;
  HeartbeatMessage message_;
  double phase_since_ = 0;
  double last_sent_ = 0;
  int64_t sent_ = 0;
  std::optional<Watchdog> coordinator_;
  std::optional<WhileWaiting> while_waiting_;
};

}  // namespace deepsearch
