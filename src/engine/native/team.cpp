#include "engine/native/team.h"

namespace deepsearch::native {
namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Team::Team(int64_t threads) {
  for (int64_t t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
}

Team::~Team() {
  stop_.store(true, std::memory_order_relaxed);
  start();
  for (std::thread& worker : workers_) worker.join();
}

void Team::wait_for_change(const std::atomic<uint32_t>& value, uint32_t old) {
  constexpr int kSpins = 2000;
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  value.wait(old, std::memory_order_acquire);
}

void Team::start() {
  started_.fetch_add(1, std::memory_order_release);
  started_.notify_all();
}

void Team::work(int64_t thread) {
  for (uint32_t seen = 0;; ++seen) {
    wait_for_change(started_, seen);
    if (stop_.load(std::memory_order_relaxed)) return;
    call_(job_, thread);
    meet();
  }
}

// The last to arrive lets the others go on.
void Team::meet() {
  const uint32_t meeting = meetings_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size()) {
    arrived_.store(0, std::memory_order_relaxed);
    next_.store(0, std::memory_order_relaxed);
    meetings_.fetch_add(1, std::memory_order_release);
    meetings_.notify_all();
  } else {
    wait_for_change(meetings_, meeting);
  }
}

}  // namespace deepsearch::native
