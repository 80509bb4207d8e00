#include "comm/watchdog.h"

#include <algorithm>
#include <utility>

#include "comm/mailbox.h"
#include "comm/world.h"
#include "core/error.h"

namespace deepsearch {
namespace {

std::vector<Watchdog::Rank> ranks_of(const World& world) {
  std::vector<Watchdog::Rank> ranks;
  for (int rank = 0; rank < world.size(); ++rank) {
    Watchdog::Rank entry;
    entry.rank = rank;
    entry.name = world.name_of(rank);
    entry.host = world.host_of(rank);
    ranks.push_back(std::move(entry));
  }
  return ranks;
}

}  // namespace

Watchdog::Watchdog(std::vector<Rank> ranks, double stuck_seconds, double now)
    : ranks_(std::move(ranks)), stuck_seconds_(stuck_seconds) {
  if (!(stuck_seconds > 0)) failure("watchdog: a limit of {} s would report every rank", stuck_seconds);
  for (Rank& rank : ranks_) rank.last_heard = now;
}

Watchdog::Watchdog(const World& world, double now) : Watchdog(ranks_of(world), world.params().stuck_seconds, now) {}

Watchdog::Rank& Watchdog::at(int rank) {
  const auto found = std::find_if(ranks_.begin(), ranks_.end(), [rank](const Rank& r) { return r.rank == rank; });
  if (found == ranks_.end()) failure("watchdog: rank {} is not among the {} watched", rank, ranks_.size());
  return *found;
}

void Watchdog::heard(int rank, const HeartbeatMessage& heartbeat, double now) {
  Rank& entry = at(rank);
  entry.heard_from = true;
  entry.last_heard = std::max(entry.last_heard, now);
  entry.last = heartbeat;
  if (!heartbeat.host.empty()) entry.host = heartbeat.host;
}

void Watchdog::heard(int rank, double now) {
  Rank& entry = at(rank);
  entry.last_heard = std::max(entry.last_heard, now);
}

void Watchdog::finished(int rank) {
  at(rank).done = true;
}

std::optional<Watchdog::Silent> Watchdog::silent(double now) const {
  const Rank* worst = nullptr;
  for (const Rank& rank : ranks_) {
    if (rank.done || now - rank.last_heard <= stuck_seconds_) continue;
    if (worst == nullptr || rank.last_heard < worst->last_heard) worst = &rank;
  }
  if (worst == nullptr) return std::nullopt;
  const double seconds = now - worst->last_heard;
  const std::string doing = worst->heard_from ? fmt::format("it was last in phase '{}' (for {:.1f} s)",
                                                            worst->last.phase, worst->last.phase_seconds)
                                              : "it has sent no heartbeat at all";
  return Silent{
      worst->rank, seconds,
      fmt::format("{} (rank {}, host {}) has been silent for {:.1f} s (limit {:g} s); {}", worst->name, worst->rank,
                  worst->host.empty() ? "unknown" : worst->host, seconds, stuck_seconds_, doing)};
}

HeartbeatSender::HeartbeatSender(World& world, Mailbox& mailbox) : world_(world), mailbox_(mailbox) {
  message_.host = world.host();
  message_.phase = "starting";
}

void HeartbeatSender::enter_phase(const std::string& phase, double now) {
  if (sent_ > 0 && phase == message_.phase) return;
  message_.phase = phase;
  phase_since_ = now;
  send(now);
}

void HeartbeatSender::tick(int64_t trees_done, int64_t tokens_generated, double busy_seconds, double now) {
  if (sent_ == 0) phase_since_ = now;
  message_.trees_done = trees_done;
  message_.tokens_generated = tokens_generated;
  message_.busy_seconds = busy_seconds;
  if (sent_ == 0 || now - last_sent_ >= world_.params().heartbeat_seconds) send(now);
}

void HeartbeatSender::send(double now) {
  message_.phase_seconds = now - phase_since_;
  mailbox_.send(world_.coordinator_rank(), message_);
  last_sent_ = now;
  ++sent_;
}

}  // namespace deepsearch
