// Where the time goes: a stopwatch, and named phases that add up. One thread each.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace deepsearch {

double now_seconds();  // monotonic
double cpu_seconds();  // this process, all threads

class Stopwatch {
 public:
  Stopwatch() : start_(now_seconds()) {}
  double seconds() const { return now_seconds() - start_; }
  void restart() { start_ = now_seconds(); }

 private:
  double start_;
};

// Seconds and counts by phase name.
class PhaseTimes {
 public:
  struct Entry {
    double seconds = 0;
    int64_t count = 0;
  };
  void add(const std::string& phase, double seconds);
  double seconds(const std::string& phase) const;
  const std::map<std::string, Entry>& entries() const { return entries_; }

 private:
  std::map<std::string, Entry> entries_;
};

// Adds its lifetime to a phase.
class ScopedPhase {
 public:
  ScopedPhase(PhaseTimes& times, std::string phase) : times_(times), phase_(std::move(phase)) {}
  ~ScopedPhase() { times_.add(phase_, watch_.seconds()); }
  ScopedPhase(const ScopedPhase&) = delete;
  ScopedPhase& operator=(const ScopedPhase&) = delete;

 private:
  PhaseTimes& times_;
  std::string phase_;
  Stopwatch watch_;
};

}  // namespace deepsearch
