// Generators that need no model: for tests, for `deepsearch simulate`, and for holding one generator against another.
// One thread each, as every StepGenerator.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "search/step_generator.h"

namespace deepsearch {

// Answers each request by a function, `delay_polls` polls after it came (0: in the next poll), in order.
class ScriptedGenerator : public StepGenerator {
 public:
  using Script = std::function<Expansion(const ExpansionRequest&)>;
  explicit ScriptedGenerator(Script script, int64_t delay_polls = 0);

  void submit(ExpansionRequest request) override;
  void poll(std::vector<Expansion>& finished) override;
  int64_t in_flight() const override { return static_cast<int64_t>(queue_.size()); }
  void release(uint64_t tree) override;

 private:
  struct Waiting {
    ExpansionRequest request;
    int64_t due;
  };
  Script script_;
  int64_t delay_polls_;
  int64_t polls_ = 0;
  std::deque<Waiting> queue_;
};

struct RandomPolicy {
  int32_t vocab_size = 32;
  Token eos = 1;
  double eos_probability = 0.05;  // at each token
  double entropy = 1.0;           // reported for every token is uniform in [0, 2·entropy), nats
};

// A policy without weights: tokens by the request's sampling key, each the end of sequence with a fixed probability. A
// pure function of (seed, request).
ScriptedGenerator::Script random_policy(const RandomPolicy& policy, uint64_t seed);

// Keeps what `inner` made; played back by a RecordedGenerator.
struct Recording {
  std::vector<std::pair<uint64_t, Expansion>> expansions;  // by sampling key, in order of completion
};
class RecordingGenerator : public StepGenerator {
 public:
  RecordingGenerator(StepGenerator& inner, Recording& recording);

  void submit(ExpansionRequest request) override;
  void poll(std::vector<Expansion>& finished) override;
  int64_t in_flight() const override { return inner_.in_flight(); }
  void release(uint64_t tree) override;

 private:
  StepGenerator& inner_;
  Recording& recording_;
  std::unordered_map<uint64_t, std::unordered_map<int32_t, std::deque<uint64_t>>> keys_;  // of requests under way
};

// Answers by a recording's sampling keys; failure() for a request that was never recorded. `tree` and `node` are those
// of the request: a recording fits other handles.
class RecordedGenerator : public ScriptedGenerator {
 public:
  explicit RecordedGenerator(const Recording& recording, int64_t delay_polls = 0);
};

// What a decode step costs in a simulation, seconds.
struct LatencyModel {
  double step_seconds = 0.01;          // each decode step of the batch
  double sequence_seconds = 0.0;       // per sequence in it
  double prefill_token_seconds = 0.0;  // per prefix token computed
  int64_t max_batch = 256;
};

// An engine's timing without its arithmetic: contents come from `script`, each poll is one decode step of a continuous
// batch on a clock of its own. A node's prefix counts as cached when an expansion of the same tree made it here.
class LatencyGenerator : public StepGenerator {
 public:
  LatencyGenerator(ScriptedGenerator::Script script, const LatencyModel& model);

  void submit(ExpansionRequest request) override;
  void poll(std::vector<Expansion>& finished) override;
  int64_t in_flight() const override { return static_cast<int64_t>(jobs_.size()); }
  void release(uint64_t tree) override;

  double virtual_seconds() const { return seconds_; }
  // Nothing to do until then: the clock of a waiting rank. Earlier times are ignored.
  void advance_to(double seconds);
  int64_t sequence_steps() const { return sequence_steps_; }  // tokens decoded
  int64_t decode_steps() const { return decode_steps_; }

 private:
  struct Job {
    uint64_t tree = 0;
    std::vector<int64_t> left;  // tokens each child still needs
    size_t admitted = 0;        // children that joined the batch
    size_t done = 0;
    Expansion result;
  };
  ScriptedGenerator::Script script_;
  LatencyModel model_;
  double seconds_ = 0;
  double prefill_due_ = 0;
  int64_t running_ = 0;
  int64_t sequence_steps_ = 0;
  int64_t decode_steps_ = 0;
  std::deque<Job> jobs_;
  std::unordered_map<uint64_t, std::unordered_map<int32_t, bool>> cached_;
};

// Gives each request to both; hands out the first one's expansions once the second's are there. Where they differ
// (tokens, or values by more than `tolerance`) a line is added to differences().
class ComparingGenerator : public StepGenerator {
 public:
  ComparingGenerator(StepGenerator& first, StepGenerator& second, double tolerance);

  void submit(ExpansionRequest request) override;
  void poll(std::vector<Expansion>& finished) override;
  int64_t in_flight() const override { return in_flight_; }
  void release(uint64_t tree) override;
  const std::vector<std::string>& differences() const { return differences_; }
  int64_t compared_tokens() const { return compared_tokens_; }

 private:
  void match(std::vector<Expansion>& finished);
  void compare(const Expansion& a, const Expansion& b);

  StepGenerator& first_;
  StepGenerator& second_;
  double tolerance_;
  int64_t in_flight_ = 0;
  int64_t compared_tokens_ = 0;
  std::vector<Expansion> from_first_;
  std::vector<Expansion> from_second_;
  std::unordered_map<uint64_t, int64_t> live_;  // requests under way by tree
  std::vector<std::string> differences_;
};

}  // namespace deepsearch
