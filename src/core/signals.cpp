#include "core/signals.h"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"

namespace deepsearch {

namespace {

constexpr int64_t kGraceNanoseconds = 1'000'000'000;

std::atomic<int> stop_flag{0};
std::atomic<int64_t> first_signal_at{0};  // monotonic nanoseconds; 0: none yet. Set by real signals only.
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);

void on_stop_signal(int signal_number) {
  const int saved_errno = errno;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t nanoseconds = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  int64_t first = 0;
  if (signal_number != SIGUSR1 && !first_signal_at.compare_exchange_strong(first, nanoseconds) &&
      nanoseconds - first >= kGraceNanoseconds) {
    _exit(128 + signal_number);
  }
  int none = 0;
  stop_flag.compare_exchange_strong(none, signal_number);
  errno = saved_errno;
}

void set_handler(int signal_number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  if (sigaction(signal_number, &action, nullptr) != 0) failure("cannot install a handler for signal {}", signal_number);
}

}  // namespace

void install_stop_signals() {
  set_handler(SIGINT, on_stop_signal);
  set_handler(SIGTERM, on_stop_signal);
  set_handler(SIGUSR1, on_stop_signal);
  set_handler(SIGPIPE, SIG_IGN);
  set_handler(SIGXFSZ, SIG_IGN);
}

bool stop_requested() {
  return stop_flag.load(std::memory_order_relaxed) != 0;
}

int stop_signal() {
  return stop_flag.load(std::memory_order_relaxed);
}

void request_stop(int signal_number) {
  int none = 0;
  stop_flag.compare_exchange_strong(none, signal_number);
}

void clear_stop_request() {
  stop_flag = 0;
  first_signal_at = 0;
}

}  // namespace deepsearch
