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

Team::Team(int64_t threads) : members_(static_cast<size_t>(threads)) {
  workers_.reserve(static_cast<size_t>(threads - 1));
  for (int64_t t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
}

Team::~Team() {
  stop_.store(true, std::memory_order_relaxed);
  started_.fetch_add(1, std::memory_order_release);
  started_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

template <class Value>
void Team::wait_for_change(const std::atomic<Value>& value, Value old) {
  constexpr int kSpins = 2000;
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  value.wait(old, std::memory_order_acquire);
}
template void Team::wait_for_change(const std::atomic<uint32_t>&, uint32_t);
template void Team::wait_for_change(const std::atomic<uint64_t>&, uint64_t);

void Team::open() {
  first_step_ = static_cast<uint32_t>(ticket_.load(std::memory_order_relaxed) >> 32);
  members_[0].step = first_step_;
  inside_.store(kOpen, std::memory_order_release);
  started_.fetch_add(1, std::memory_order_release);
  started_.notify_all();
}

void Team::close() {
  for (uint32_t inside = inside_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen; inside != 0;
       inside = inside_.load(std::memory_order_acquire)) {
    wait_for_change(inside_, inside);
  }
}

void Team::work(int64_t thread) {
  uint32_t seen = 0;
  while (true) {
    wait_for_change(started_, seen);
    seen = started_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_relaxed)) return;
    // Too late for a job that is closed; in time, perhaps, for one opened meanwhile.
    uint32_t inside = inside_.load(std::memory_order_acquire);
    while ((inside & kOpen) != 0 && !inside_.compare_exchange_weak(inside, inside + 1, std::memory_order_acquire)) {
    }
    if ((inside & kOpen) == 0) continue;
    members_[static_cast<size_t>(thread)].step = first_step_;
    call_(job_, thread);
    inside_.fetch_sub(1, std::memory_order_release);
    inside_.notify_all();
  }
}

// By the thread that did the step's last item.
void Team::next_step(uint32_t step) {
  done_.store(0, std::memory_order_relaxed);
  ticket_.store(static_cast<uint64_t>(step + 1) << 32, std::memory_order_release);
  ticket_.notify_all();
}

}  // namespace deepsearch::native
