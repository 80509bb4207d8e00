// To be preloaded into a rank (LD_PRELOAD): its wall clock is wrong by hours, other hours on every rank, and jumps
// forwards and backwards by hours a few times a second. Steady clocks are left alone.
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

namespace {

constexpr int64_t kHour = 3600;

timespec real_time(clockid_t clock) {
  timespec now{};
  syscall(SYS_clock_gettime, clock, &now);
  return now;
}

int64_t seconds_wrong() {
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  const int64_t apart = rank == nullptr ? 0 : (7 * std::atoll(rank) - 9) * kHour;
  const int64_t fifths = real_time(CLOCK_MONOTONIC).tv_nsec / 200000000;
  return apart + (fifths - 2) * 3 * kHour;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* now) {
  if (syscall(SYS_clock_gettime, clock, now) != 0) return -1;
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += seconds_wrong();
  return 0;
}

time_t time(time_t* out) {
  const time_t now = real_time(CLOCK_REALTIME).tv_sec + seconds_wrong();
  if (out != nullptr) *out = now;
  return now;
}

int gettimeofday(timeval* now, void* /*zone*/) {
  const timespec real = real_time(CLOCK_REALTIME);
  now->tv_sec = real.tv_sec + seconds_wrong();
  now->tv_usec = real.tv_nsec / 1000;
  return 0;
}

}  // extern "C"
