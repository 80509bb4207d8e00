// SimulatedEngine: a rank's engine that takes the time a real one would, on the wall, and computes nothing: real
// processes and real messages run on it at any size. poll() sleeps until its decode step would be over, so that many
// ranks share a core. One thread.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"
#include "simulate/timed_engine.h"

namespace deepsearch {

// Simulated time on the wall.
struct SimulatedClock {
  double origin = 0;      // now_seconds() at simulated 0
  double time_scale = 1;  // seconds on the wall a simulated second takes
  double now() const;
  void sleep_until(double simulated) const;
};

class SimulatedEngine : public Engine {
 public:
  SimulatedEngine(ExpansionScript script, const LatencyModel& latency, int rank, const ModelConfig& model,
                  const SimulatedClock& clock);

  void submit(ExpansionRequest request) override;
  void poll(std::vector<Expansion>& finished) override;
  int64_t in_flight() const override { return engine_.in_flight(); }
  void release(uint64_t tree) override { engine_.release(tree); }

  void set_weights(const WeightSource& weights, int64_t policy_version) override;
  void suspend() override {}  // holds no memory
  int64_t policy_version() const override { return version_; }
  void set_token_bytes(std::vector<std::string> /*bytes*/) override {}
  // failure(): there is no model to ask.
  void check_text(const std::vector<Token>& text) const override;
  std::vector<Scores> score(const std::vector<std::vector<Token>>& texts) override;
  const EngineCounters& counters() const override { return counters_; }
  int64_t kv_blocks_used() const override { return 0; }
  int64_t max_batch() const override { return engine_.max_batch(); }
  const ModelConfig& model_config() const override { return model_; }
  std::string description() const override;

  const TimedEngine& timed() const { return engine_; }
  // Simulated time that was lost because this process was not run for so long that it could not catch up.
  double late_seconds() const { return late_seconds_; }

 private:
  TimedEngine engine_;
  const ModelConfig model_;
  const SimulatedClock clock_;
  int64_t version_ = -1;
  double polled_ = 0;  // when poll() last returned
  double late_seconds_ = 0;
  EngineCounters counters_;
};

}  // namespace deepsearch
