#include "core/activity.h"

#include <atomic>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "core/timer.h"

namespace deepsearch {
namespace {

// A sequence lock: odd while it is being written. All fields are atomics, so a reader that comes in between sees
// values of two moments, not undefined ones, and looks again.
struct Published {
  std::atomic<uint64_t> sequence{0};
  std::atomic<const char*> phase{"starting"};
  std::atomic<const char*> operation{nullptr};
  std::atomic<int> peer{-1};
  std::atomic<double> phase_since{0};
  std::atomic<double> operation_since{0};
  std::atomic<uint64_t> progress{0};
  std::atomic<uint64_t> waits{0};
};
Published published;
thread_local bool speaks = false;

constexpr auto kRelaxed = std::memory_order_relaxed;

template <class Change>
void publish(Change&& change) {
  if (!speaks) return;
  const uint64_t sequence = published.sequence.load(kRelaxed);
  published.sequence.store(sequence + 1, kRelaxed);
  std::atomic_thread_fence(std::memory_order_release);
  change();
  published.sequence.store(sequence + 2, std::memory_order_release);
}

void count(std::atomic<uint64_t>& counter) {
  counter.store(counter.load(kRelaxed) + 1, kRelaxed);  // one writer
}

}  // namespace

struct WhileWaiting::Hook {
  std::function<void()> tell;
  double seconds = 0;
  double told = 0;
  bool telling = false;
};

namespace {

thread_local std::vector<WhileWaiting::Hook*> hooks;

// Whether the hook was called.
bool tell_if_due() {
  if (!speaks || hooks.empty()) return false;
  WhileWaiting::Hook& hook = *hooks.back();
  const double now = now_seconds();
  if (hook.telling || now - hook.told < hook.seconds) return false;
  hook.told = now;
  hook.telling = true;
  try {
    hook.tell();
  } catch (...) {
    hook.telling = false;
    throw;
  }
  hook.telling = false;
  return true;
}

}  // namespace

void speak_for_this_process() {
  speaks = true;
  publish([] { published.phase_since.store(now_seconds(), kRelaxed); });
}

Activity current_activity() {
  Activity seen;
  for (;;) {
    const uint64_t before = published.sequence.load(std::memory_order_acquire);
    seen.phase = published.phase.load(kRelaxed);
    seen.operation = published.operation.load(kRelaxed);
    seen.peer = published.peer.load(kRelaxed);
    seen.phase_since = published.phase_since.load(kRelaxed);
    seen.operation_since = published.operation_since.load(kRelaxed);
    seen.progress = published.progress.load(kRelaxed);
    seen.waits = published.waits.load(kRelaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (before % 2 == 0 && published.sequence.load(kRelaxed) == before) return seen;
  }
}

const char* lasting(const std::string& text) {
  static std::mutex mutex;
  static auto* texts = new std::set<std::string>;
  const std::lock_guard lock(mutex);
  return texts->insert(text).first->c_str();
}

void enter_phase(const std::string& phase) {
  if (!speaks) return;
  const char* text = lasting(phase);
  if (text == published.phase.load(kRelaxed)) return;
  publish([text] {
    published.phase.store(text, kRelaxed);
    published.phase_since.store(now_seconds(), kRelaxed);
    count(published.progress);
  });
}

void report_progress() {
  if (!speaks) return;
  count(published.progress);
  tell_if_due();
}

void report_waiting() {
  if (tell_if_due()) count(published.waits);
}

CurrentOperation::CurrentOperation(const char* name, int peer)
    : outer_name_(published.operation.load(kRelaxed)),
      outer_peer_(published.peer.load(kRelaxed)),
      outer_since_(published.operation_since.load(kRelaxed)) {
  publish([&] {
    published.operation.store(name, kRelaxed);
    published.peer.store(peer, kRelaxed);
    published.operation_since.store(now_seconds(), kRelaxed);
  });
}

CurrentOperation::~CurrentOperation() {
  publish([this] {
    published.operation.store(outer_name_, kRelaxed);
    published.peer.store(outer_peer_, kRelaxed);
    published.operation_since.store(outer_since_, kRelaxed);
    count(published.progress);
  });
}

void CurrentOperation::with(int peer) {
  if (peer == published.peer.load(kRelaxed)) return;
  publish([peer] { published.peer.store(peer, kRelaxed); });
}

WhileWaiting::WhileWaiting(std::function<void()> tell, double seconds) : hook_(std::make_unique<Hook>()) {
  hook_->tell = std::move(tell);
  hook_->seconds = seconds;
  hook_->told = now_seconds();
  hooks.push_back(hook_.get());
}

WhileWaiting::~WhileWaiting() {
  std::erase(hooks, hook_.get());
}

}  // namespace deepsearch
