// A few threads that run one loop at a time. With one thread the loop runs in the caller and no thread is made.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace deepsearch::native {

class ThreadPool {
 public:
  explicit ThreadPool(int64_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int64_t threads() const { return static_cast<int64_t>(workers_.size()) + 1; }
  // body(item, thread) for item 0 … n−1, in any order, thread in 0 … threads()−1; returns when all are done. The first
  // exception of a body is thrown again here. One caller at a time.
  void run(int64_t n, const std::function<void(int64_t item, int64_t thread)>& body);

 private:
  void work(int64_t thread);
  void take_items(int64_t thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;  // guards generation_, stop_, busy_, error_
  std::condition_variable start_;
  std::condition_variable done_;
  uint64_t generation_ = 0;
  bool stop_ = false;
  int64_t busy_ = 0;
  std::exception_ptr error_;
  // Set before a generation starts, constant while it runs.
  const std::function<void(int64_t, int64_t)>* body_ = nullptr;
  int64_t n_ = 0;
  std::atomic<int64_t> next_{0};
};

}  // namespace deepsearch::native
