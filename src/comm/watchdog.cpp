#include "comm/watchdog.h"

#include <algorithm>
#include <utility>

#include "comm/mailbox.h"
#include "comm/stuck_watch.h"
#include "comm/world.h"
#include "core/error.h"
#include "core/timer.h"

namespace deepsearch {
namespace {

Watchdog::Rank rank_of(const World& world, int rank) {
  Watchdog::Rank entry;
  entry.rank = rank;
  entry.name = world.name_of(rank);
  entry.host = world.host_of(rank);
  return entry;
}

std::vector<Watchdog::Rank> ranks_of(const World& world) {
  std::vector<Watchdog::Rank> ranks;
  for (int rank = 0; rank < world.size(); ++rank) ranks.push_back(rank_of(world, rank));
  return ranks;
}

}  // namespace

Watchdog::Watchdog(std::vector<Rank> ranks, double stuck_seconds, double now)
    : ranks_(std::move(ranks)), stuck_seconds_(stuck_seconds), listened_(now) {
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
  entry.heard_from = true;
  entry.last_heard = std::max(entry.last_heard, now);
}

void Watchdog::listened(double now) {
  const double gap = now - listened_;
  listened_ = std::max(listened_, now);
  if (gap <= stuck_seconds_ / 4) return;
  for (Rank& rank : ranks_) rank.last_heard = std::min(now, rank.last_heard + gap);
}

std::optional<Watchdog::Silent> Watchdog::silent(double now) const {
  const Rank* worst = nullptr;
  for (const Rank& rank : ranks_) {
    const double limit = rank.heard_from ? stuck_seconds_ : kSetUpFactor * stuck_seconds_;
    if (now - rank.last_heard <= limit) continue;
    if (worst == nullptr || rank.last_heard < worst->last_heard) worst = &rank;
  }
  if (worst == nullptr) return std::nullopt;
  const double seconds = now - worst->last_heard;
  const HeartbeatMessage& last = worst->last;
  std::string doing = "it has sent no heartbeat at all";
  if (!last.phase.empty()) {
    doing = fmt::format("it was last in phase '{}' (for {:.1f} s)", last.phase, last.phase_seconds);
    if (!last.operation.empty()) doing += fmt::format(", in {} (for {:.1f} s)", last.operation, last.operation_seconds);
  }
  const double limit = worst->heard_from ? stuck_seconds_ : kSetUpFactor * stuck_seconds_;
  return Silent{worst->rank, seconds,
                fmt::format("{} (rank {}, host {}) has been silent for {:.1f} s (limit {:g} s); {}", worst->name,
                            worst->rank, worst->host.empty() ? "unknown" : worst->host, seconds, limit, doing)};
}

HeartbeatMessage sign_of_life(const World& world) {
  const Activity now = current_activity();
  HeartbeatMessage message;
  message.host = world.host();
  message.phase = now.phase;
  message.phase_seconds = now_seconds() - now.phase_since;
  if (now.operation != nullptr) {
    message.operation = describe_operation(now, [&](int rank) { return world.describe_rank(rank); });
    message.operation_seconds = now_seconds() - now.operation_since;
  }
  return message;
}

HeartbeatSender::HeartbeatSender(World& world, Mailbox& mailbox) : world_(world), mailbox_(mailbox) {
  message_.phase = "starting";
  if (world.is_coordinator()) return;
  const int coordinator = world.coordinator_rank();
  coordinator_.emplace(std::vector<Watchdog::Rank>{rank_of(world, coordinator)}, world.params().stuck_seconds,
                       now_seconds());
  mailbox.on_arrival([this, coordinator](int from, const AnyMessage& message) {
    if (from != coordinator) return;
    const auto* heartbeat = std::get_if<HeartbeatMessage>(&message);
    heartbeat != nullptr ? coordinator_->heard(from, *heartbeat, now_seconds())
                         : coordinator_->heard(from, now_seconds());
  });
  while_waiting_.emplace(
      [this] {
        mailbox_.take_in();
        send(now_seconds());
        look_at_coordinator(now_seconds());
      },
      world.params().heartbeat_seconds);
}

HeartbeatSender::~HeartbeatSender() {
  if (coordinator_) mailbox_.on_arrival(nullptr);
}

void HeartbeatSender::look_at_coordinator(double now) {
  if (!coordinator_) return;
  coordinator_->listened(now);
  if (const auto silent = coordinator_->silent(now)) world_.abort(message_.phase, silent->text, kExitFailure);
}

void HeartbeatSender::enter_phase(const std::string& phase, double now) {
  deepsearch::enter_phase(phase);
  if (sent_ > 0 && phase == message_.phase) return;
  message_.phase = phase;
  phase_since_ = now;
  send(now);
}

void HeartbeatSender::tick(int64_t trees_done, int64_t tokens_generated, double busy_seconds, double now) {
  report_progress();
  if (sent_ == 0) phase_since_ = now;
  message_.trees_done = trees_done;
  message_.tokens_generated = tokens_generated;
  message_.busy_seconds = busy_seconds;
  look_at_coordinator(now);
  if (sent_ == 0 || now - last_sent_ >= world_.params().heartbeat_seconds) send(now);
}

void HeartbeatSender::send(double now) {
  const HeartbeatMessage doing = sign_of_life(world_);
  message_.host = doing.host;
  message_.phase_seconds = now - phase_since_;
  message_.operation = doing.operation;
  message_.operation_seconds = doing.operation_seconds;
  mailbox_.send(world_.coordinator_rank(), message_);
  last_sent_ = now;
  ++sent_;
}

}  // namespace deepsearch
