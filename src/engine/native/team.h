// Team: a few threads that go through one pass together, step by step. Each runs the same body; the items of a step are
// taken one by one, and a step ends when all of them are done. A thread that the system does not run holds up nobody
// unless it has taken an item: the others do the work, and it skips what is over. With one thread nothing is shared and
// no thread is made.
//
// Between steps a thread waits by spinning for some microseconds, then sleeps: steps of a small model take no longer
// than waking up, while a rank that waits for work should not hold a core.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace deepsearch::native {

class Team {
 public:
  explicit Team(int64_t threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int64_t size() const { return static_cast<int64_t>(workers_.size()) + 1; }

  // body(thread) on the caller (thread 0) and on those workers (1 … size()−1) that come in time; returns when all have
  // left it. What must be done is done in share(). It must not throw. One caller at a time.
  template <class Body>
  void run(const Body& body) {
    if (workers_.empty()) return body(0);
    job_ = &body;
    call_ = [](const void* job, int64_t thread) { (*static_cast<const Body*>(job))(thread); };
    open();
    body(0);
    close();
  }

  // Inside run, by every thread alike and in the same order: item(i) for i = 0 … n−1, each by one of the threads, in
  // any order; returns when all are done.
  template <class Item>
  void share(int64_t thread, int64_t n, const Item& item) {
    if (workers_.empty()) {
      for (int64_t i = 0; i < n; ++i) item(i);
      return;
    }
    if (n == 0) return;
    const uint32_t step = members_[static_cast<size_t>(thread)].step++;
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(ticket >> 32) == step) {
      const auto i = static_cast<int64_t>(ticket & 0xffffffffU);
      if (i >= n) return wait_for_change(ticket_, ticket);  // which stays until the step is done
      if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acquire)) continue;
      item(i);
      if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == n) return next_step(step);
      ticket = ticket_.load(std::memory_order_acquire);
    }
  }

 private:
  struct alignas(64) Member {
    uint32_t step = 0;  // that it comes to next
  };
  static constexpr uint32_t kOpen = 1U << 31;

  void work(int64_t thread);
  void open();
  void close();
  void next_step(uint32_t step);
  template <class Value>
  static void wait_for_change(const std::atomic<Value>& value, Value old);

  // Each on a cache line of its own.
  alignas(64) std::atomic<uint64_t> ticket_{0};   // step, and its next item in the lower half
  alignas(64) std::atomic<int64_t> done_{0};      // items of the step
  alignas(64) std::atomic<uint32_t> inside_{0};   // workers in the body, and kOpen while more may enter
  alignas(64) std::atomic<uint32_t> started_{0};  // jobs so far
  // Constant while a job is open.
  alignas(64) const void* job_ = nullptr;
  void (*call_)(const void*, int64_t) = nullptr;
  uint32_t first_step_ = 0;
  std::atomic<bool> stop_{false};
  std::vector<Member> members_;
  std::vector<std::thread> workers_;  // the last to be made, as they use the others
};

}  // namespace deepsearch::native
