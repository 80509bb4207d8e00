#include "simulate/simulated_engine.h"

#include <chrono>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/timer.h"

namespace deepsearch {

double SimulatedClock::now() const {
  return (now_seconds() - origin) / time_scale;
}

void SimulatedClock::sleep_until(double simulated) const {
  const double left = origin + simulated * time_scale - now_seconds();
  if (left > 0) std::this_thread::sleep_for(std::chrono::duration<double>(left));
}

SimulatedEngine::SimulatedEngine(ExpansionScript script, const LatencyModel& latency, int rank,
                                 const ModelConfig& model, const SimulatedClock& clock)
    : engine_(std::move(script), latency, rank), model_(model), clock_(clock) {}

void SimulatedEngine::submit(ExpansionRequest request) {
  const bool idle = engine_.in_flight() == 0;
  engine_.submit(std::move(request));
  if (!idle) return;
  // What a tree asks for when its expansion has come follows without a gap.
  constexpr double kBetween = 0.2;  // decode steps
  const double now = clock_.now();
  engine_.start();
  if (now > polled_ + kBetween * (engine_.end_of(1) - engine_.now())) engine_.wait_until(now);
}

// One decode step follows the other whatever the process did in between; one that was not run in time catches up.
void SimulatedEngine::poll(std::vector<Expansion>& finished) {
  if (engine_.in_flight() == 0) return;
  if (engine_.start() == 0) failure("simulated engine: requests, but none that can run");
  constexpr double kTooLate = 0.25;  // seconds on the wall
  const double now = clock_.now();
  if ((now - engine_.now()) * clock_.time_scale > kTooLate) {
    late_seconds_ += now - engine_.now();
    engine_.wait_until(now);
  }
  clock_.sleep_until(engine_.end_of(1));
  engine_.run(1);
  engine_.poll(finished);
  const TimedCounters& timed = engine_.counters();
  counters_.tokens_generated = timed.tokens_generated;
  counters_.tokens_prefilled = timed.tokens_prefilled;
  counters_.decode_steps = timed.decode_steps;
  counters_.busy_seconds = timed.busy_seconds * clock_.time_scale;
  polled_ = clock_.now();
}

void SimulatedEngine::set_weights(const WeightSource& /*weights*/, int64_t policy_version) {
  version_ = policy_version;
  engine_.set_version(policy_version);
}

void SimulatedEngine::check_text(const std::vector<Token>& /*text*/) const {
  failure("a simulated engine has no model to score a text");
}

std::vector<Scores> SimulatedEngine::score(const std::vector<std::vector<Token>>& /*texts*/) {
  failure("a simulated engine has no model to score a text");
}

std::string SimulatedEngine::description() const {
  return "simulated";
}

}  // namespace deepsearch
