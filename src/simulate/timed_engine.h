// TimedEngine: an engine's timing without its arithmetic, a continuous batch on a clock of its own. Contents come from
// a script; a node's prefix counts as cached when an expansion of the same tree made it here. Time moves from one event
// to the next: until a sequence ends nothing changes, so that any number of decode steps pass at once, and an
// interruption is taken at the next boundary between two steps, as a rank that listens between decode steps takes it.
//
// Use: submit and poll between decode steps, which take no time here; start(); then run(n) for n ≥ 1 of the steps that
// start() announced; and poll again. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <queue>
#include <unordered_map>
#include <vector>

#include "search/step_generator.h"
#include "simulate/latency_model.h"

namespace deepsearch {

// When something was under way: periods that do not touch, ascending.
struct BusyPeriod {
  double begin = 0;
  double end = 0;
};

struct TimedCounters {
  int64_t decode_steps = 0;
  int64_t tokens_generated = 0;
  int64_t tokens_prefilled = 0;
  double busy_seconds = 0;
  double running_seconds = 0;  // ∫ sequences in the batch dt
  double waiting_seconds = 0;  // ∫ sequences that wait for a place in it dt
};

class TimedEngine : public StepGenerator {
 public:
  TimedEngine(ExpansionScript script, const LatencyModel& model, int rank);

  void submit(ExpansionRequest request) override;
  // Hands out what has ended; no time passes.
  void poll(std::vector<Expansion>& finished) override;
  int64_t in_flight() const override { return in_flight_; }
  int64_t max_batch() const { return model_.max_batch; }
  void release(uint64_t tree) override;

  double now() const { return now_; }
  // Idle: moves the clock on. Earlier times are ignored.
  void wait_until(double seconds);
  // Fills the batch; how many decode steps may pass before something ends. 0: idle.
  int64_t start();
  // Of the steps that start() announced: when n of them will be over, and how many are by or soon after `seconds` (at
  // least one).
  double end_of(int64_t n) const;
  int64_t steps_by(double seconds) const;
  void run(int64_t n);

  void set_version(int64_t policy_version) { version_ = policy_version; }
  const TimedCounters& counters() const { return counters_; }
  const std::vector<BusyPeriod>& busy() const { return busy_; }

 private:
  struct Job {
    int64_t serial = 0;  // order of submission
    uint64_t tree = 0;
    std::vector<int32_t> left;  // tokens of each child
    size_t admitted = 0;        // children that joined the batch
    size_t done = 0;
    Expansion result;
  };
  struct Ending {
    int64_t step = 0;    // decode step at whose end
    int64_t serial = 0;  // of the job; one that was released is no more
    bool operator>(const Ending& other) const { return step > other.step; }
  };
  struct Cached {
    std::vector<bool> nodes;
    std::vector<int64_t> jobs;
  };

  void admit();

  ExpansionScript script_;
  const LatencyModel model_;
  const int rank_;
  int64_t version_ = 0;
  double now_ = 0;
  int64_t step_ = 0;     // decode steps so far
  int64_t running_ = 0;  // sequences in the batch
  int64_t waiting_ = 0;  // sequences outside
  double first_ = 0;     // seconds of the next step, prefill included
  double further_ = 0;   // … of each one after it
  int64_t announced_ = 0;
  double prefill_ = 0;
  int64_t next_serial_ = 0;
  int64_t in_flight_ = 0;
  std::unordered_map<int64_t, Job> jobs_;
  std::deque<int64_t> queue_;  // jobs with children outside the batch
  std::priority_queue<Ending, std::vector<Ending>, std::greater<>> endings_;
  std::vector<int64_t> done_;  // jobs that have ended and were not handed out
  std::unordered_map<uint64_t, Cached> trees_;
  TimedCounters counters_;
  std::vector<BusyPeriod> busy_;
};

}  // namespace deepsearch
