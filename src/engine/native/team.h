// Team: a few threads that go through one pass together, step by step. Each runs the same body; loops inside it are
// shared out item by item, and end for all at once. With one thread nothing is shared and no thread is made.
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

  // body(thread) on every thread, thread = 0 (the caller) … size()−1; returns when all are done. It must not throw. One
  // caller at a time.
  template <class Body>
  void run(const Body& body) {
    if (workers_.empty()) return body(0);
    job_ = &body;
    call_ = [](const void* job, int64_t thread) { (*static_cast<const Body*>(job))(thread); };
    start();
    body(0);
    meet();
  }

  // Inside run, by every thread alike: item(i) for i = 0 … n−1, each by one of the threads, in any order; returns when
  // all are done.
  template <class Item>
  void share(int64_t n, const Item& item) {
    if (workers_.empty()) {
      for (int64_t i = 0; i < n; ++i) item(i);
      return;
    }
    for (int64_t i = next_.fetch_add(1, std::memory_order_relaxed); i < n;
         i = next_.fetch_add(1, std::memory_order_relaxed)) {
      item(i);
    }
    meet();
  }

 private:
  void work(int64_t thread);
  void start();
  void meet();
  static void wait_for_change(const std::atomic<uint32_t>& value, uint32_t old);

  // Each on a cache line of its own.
  alignas(64) std::atomic<uint32_t> started_{0};
  alignas(64) std::atomic<uint32_t> meetings_{0};
  alignas(64) std::atomic<int64_t> arrived_{0};
  alignas(64) std::atomic<int64_t> next_{0};
  // Set before a start, constant until its end.
  alignas(64) const void* job_ = nullptr;
  void (*call_)(const void*, int64_t) = nullptr;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;  // the last to be made, as they use the others
};

}  // namespace deepsearch::native
