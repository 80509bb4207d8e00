#include "core/timer.h"

#include <ctime>

namespace deepsearch {

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_seconds() {
  timespec spent{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + 1e-9 * static_cast<double>(spent.tv_nsec);
}

void PhaseTimes::add(const std::string& phase, double seconds) {
  Entry& entry = entries_[phase];
  entry.seconds += seconds;
  ++entry.count;
}

double PhaseTimes::seconds(const std::string& phase) const {
  const auto found = entries_.find(phase);
  return found == entries_.end() ? 0.0 : found->second.seconds;
}

}  // namespace deepsearch
