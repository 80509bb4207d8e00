#include "comm/stuck_watch.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <vector>

#include "comm/world.h"
#include "core/error.h"
#include "core/timer.h"

namespace deepsearch {
namespace {

void write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

const char* preposition(std::string_view operation) {
  if (operation.find("send") != operation.npos) return "to";
  if (operation.find("recv") != operation.npos || operation.find("taking") != operation.npos) return "from";
  return "with";
}

bool is_slow(const char* phase) {
  return std::strcmp(phase, kSetUpPhase) == 0 || std::strcmp(phase, kSavingPhase) == 0;
}

}  // namespace

StallClock::StallClock(double limit, double longest_gap, double now)
    : limit_(limit), longest_gap_(longest_gap), last_(now) {}

bool StallClock::look(const Activity& seen, double now) {
  const double gap = std::clamp(now - last_, 0.0, longest_gap_);
  last_ = now;
  const bool got_on = seen.progress != progress_;
  const bool waits = seen.waits != waits_;
  progress_ = seen.progress;
  waits_ = seen.waits;
  stalled_ = got_on ? 0 : stalled_ + gap;
  unheard_ = got_on || waits ? 0 : unheard_ + gap;
  const double limit = is_slow(seen.phase) ? kSetUpFactor * limit_ : limit_;
  return unheard_ > limit || stalled_ > kAliveFactor * limit_;
}

std::string describe_operation(const Activity& seen, const std::function<std::string(int rank)>& name_rank) {
  if (seen.operation == nullptr) return "nothing that has a name";
  if (seen.peer < 0) return seen.operation;
  return fmt::format("{} {} {}", seen.operation, preposition(seen.operation), name_rank(seen.peer));
}

std::string stuck_line(const std::string& who, const Activity& seen, double seconds,
                       const std::function<std::string(int rank)>& name_rank) {
  return fmt::format("{} is stuck in {}, phase {}, since {:.0f} s", who, describe_operation(seen, name_rank),
                     seen.phase, seconds);
}

struct StuckWatch::Impl {
  std::string who;
  std::vector<std::string> names;  // by rank, so that the thread asks nobody
  double stuck_seconds = 0;
  std::mutex mutex;  // of `ends` and `log`; the main thread holds it for moments only
  std::condition_variable wake;
  bool ends = false;
  int log = -1;
  std::thread thread;

  void run();
  [[noreturn]] void end(const Activity& seen, double seconds);
};

void StuckWatch::Impl::run() {
  const double interval = std::clamp(stuck_seconds / 20, 0.01, 1.0);
  StallClock clock(kEarly * stuck_seconds, 2 * interval + 0.1, now_seconds());
  std::unique_lock lock(mutex);
  while (!ends) {
    wake.wait_for(lock, std::chrono::duration<double>(interval));
    if (ends) return;
    const Activity seen = current_activity();
    if (clock.look(seen, now_seconds())) end(seen, clock.stalled());
  }
}

void StuckWatch::Impl::end(const Activity& seen, double seconds) {
  const std::string line = stuck_line(who, seen, seconds,
                                      [this](int rank) {
                                        return static_cast<size_t>(rank) < names.size()
                                                   ? names[static_cast<size_t>(rank)]
                                                   : fmt::format("rank {}", rank);
                                      }) +
                           "\n";
  write_all(STDERR_FILENO, line);
  if (log >= 0) write_all(log, line);
  ::_exit(kExitFailure);
}

StuckWatch::StuckWatch(const World& world) : impl_(std::make_unique<Impl>()) {
  impl_->who = world.describe_rank(world.rank());
  for (int rank = 0; rank < world.size(); ++rank) impl_->names.push_back(world.describe_rank(rank));
  impl_->stuck_seconds = world.params().stuck_seconds;
  speak_for_this_process();
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

StuckWatch::~StuckWatch() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->ends = true;
  }
  impl_->wake.notify_all();
  impl_->thread.join();
  if (impl_->log >= 0) ::close(impl_->log);
}

void StuckWatch::log_to(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const std::lock_guard lock(impl_->mutex);
  if (impl_->log >= 0) ::close(impl_->log);
  impl_->log = descriptor;  // −1: only the terminal gets the line
}

}  // namespace deepsearch
