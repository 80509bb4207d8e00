// Who has been silent for too long. The coordinator keeps one Watchdog and feeds it every heartbeat; each rank keeps
// one HeartbeatSender and ticks it wherever its loop comes round. Time is seconds on the caller's monotonic clock
// (core/timer.h), passed in. One thread each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/messages.h"

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
    bool done = false;      // said goodbye: its silence means nothing
    double last_heard = 0;  // when; the watch's start before the first heartbeat
    HeartbeatMessage last;  // as of then
  };

  // Watches `ranks` from `now` on. stuck_seconds > 0: longer silence is reported.
  Watchdog(std::vector<Rank> ranks, double stuck_seconds, double now);
  // Every rank of `world`, by its [ranks].stuck_seconds.
  Watchdog(const World& world, double now);

  // Any message from a rank is a sign of life; a heartbeat also says what it is doing. Unknown ranks: failure().
  void heard(int rank, const HeartbeatMessage& heartbeat, double now);
  void heard(int rank, double now);
  void finished(int rank);

  struct Silent {
    int rank = -1;
    double seconds = 0;
    // "search 3 (rank 3, host n07) has been silent for 61.2 s (limit 60 s); it was last in phase 'searching' (for 12.0
    // s)"
    std::string text;
  };
  // The rank that has been silent longest, if any is over the limit.
  std::optional<Silent> silent(double now) const;

  const std::vector<Rank>& ranks() const { return ranks_; }

 private:
  Rank& at(int rank);
  std::vector<Rank> ranks_;
  double stuck_seconds_;
};

class HeartbeatSender {
 public:
  // Both must outlive it. Interval: [ranks].heartbeat_seconds as given to assign_roles.
  HeartbeatSender(World& world, Mailbox& mailbox);

  // A new phase is reported at once, so that the coordinator knows it even when the phase is the last thing heard of.
  void enter_phase(const std::string& phase, double now);
  // Sends when an interval has passed since the last one. Counters are totals since the start.
  void tick(int64_t trees_done, int64_t tokens_generated, double busy_seconds, double now);
  int64_t sent() const { return sent_; }

 private:
  void send(double now);
  World& world_;
  Mailbox& mailbox_;
  HeartbeatMessage message_;
  double phase_since_ = 0;
  double last_sent_ = 0;
  int64_t sent_ = 0;
};

}  // namespace deepsearch
