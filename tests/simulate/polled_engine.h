// Engines without a model, for tests of the simulation.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "search/step_generator.h"
#include "simulate/latency_model.h"

namespace deepsearch::testing {

// A policy without weights: tokens below 9 by the request's sampling key, each the end of sequence (1) with a fixed
// probability. A pure function of (seed, request).
inline ExpansionScript random_script(double eos_probability, uint64_t seed) {
  return [eos_probability, seed](const ExpansionRequest& request) {
    constexpr Token kEos = 1;
    Expansion expansion{.tree = request.tree, .node = request.node, .children = {}};
    for (int32_t child = 0; child < request.n_children; ++child) {
      RandomStream random(seed, RngPurpose::kSampling, mix_all(request.sampling_key, child));
      Step step;
      while (step.finish != Finish::kEos && static_cast<int32_t>(step.tokens.size()) < request.max_tokens) {
        const bool ends = random.uniform() < eos_probability;
        step.tokens.push_back(ends ? kEos : static_cast<Token>(2 + random.below(7)));
        if (ends) step.finish = Finish::kEos;
      }
      expansion.tokens_generated += static_cast<int64_t>(step.tokens.size());
      expansion.children.push_back(std::move(step));
    }
    return expansion;
  };
}

// Answers at the next poll.
class ScriptEngine : public StepGenerator {
 public:
  explicit ScriptEngine(ExpansionScript script) : script_(std::move(script)) {}

  void submit(ExpansionRequest request) override { made_.push_back(script_(request)); }
  void poll(std::vector<Expansion>& finished) override {
    std::move(made_.begin(), made_.end(), std::back_inserter(finished));
    made_.clear();
  }
  int64_t in_flight() const override { return std::ssize(made_); }
  void release(uint64_t tree) override {
    std::erase_if(made_, [tree](const Expansion& expansion) { return expansion.tree == tree; });
  }

 private:
  ExpansionScript script_;
  std::vector<Expansion> made_;
};

// The naive TimedEngine: each poll is one decode step.
class PolledEngine : public StepGenerator {
 public:
  PolledEngine(ExpansionScript script, const LatencyModel& model) : script_(std::move(script)), model_(model) {}

  void submit(ExpansionRequest request) override {
    Job job{.tree = request.tree, .left = {}, .admitted = 0, .done = 0, .result = script_(request)};
    for (const Step& step : job.result.children) job.left.push_back(std::max<int64_t>(1, std::ssize(step.tokens)));
    auto& cached = cached_[request.tree];
    job.result.tokens_prefilled = 0;
    for (const PathSegment& part : request.path) {
      bool& known = cached[part.node];
      if (!known) job.result.tokens_prefilled += part.n_tokens;
      known = true;
    }
    for (int32_t i = 0; i < static_cast<int32_t>(job.left.size()); ++i) cached[request.first_child + i] = true;
    jobs_.push_back(std::move(job));
  }
  void poll(std::vector<Expansion>& finished) override;
  int64_t in_flight() const override { return static_cast<int64_t>(jobs_.size()); }
  void release(uint64_t tree) override {
    for (const Job& job : jobs_) {
      if (job.tree == tree) running_ -= static_cast<int64_t>(job.admitted - job.done);
    }
    std::erase_if(jobs_, [&](const Job& job) { return job.tree == tree; });
    cached_.erase(tree);
  }

  double virtual_seconds() const { return seconds_; }
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
  void fill_batch();

  ExpansionScript script_;
  LatencyModel model_;
  double seconds_ = 0;
  double prefill_due_ = 0;
  int64_t running_ = 0;
  int64_t sequence_steps_ = 0;
  int64_t decode_steps_ = 0;
  std::deque<Job> jobs_;
  std::unordered_map<uint64_t, std::unordered_map<int32_t, bool>> cached_;
};

inline void PolledEngine::fill_batch() {
  for (Job& job : jobs_) {
    if (running_ >= model_.max_batch) break;
    if (job.admitted == 0) {
      prefill_due_ += static_cast<double>(job.result.tokens_prefilled) * model_.prefill_token_seconds;
    }
    while (job.admitted < job.left.size() && running_ < model_.max_batch) {
      ++job.admitted;
      ++running_;
    }
  }
}

inline void PolledEngine::poll(std::vector<Expansion>& finished) {
  if (jobs_.empty()) return;
  fill_batch();
  seconds_ += model_.step_seconds + static_cast<double>(running_) * model_.sequence_seconds + prefill_due_;
  prefill_due_ = 0;
  ++decode_steps_;
  sequence_steps_ += running_;
  for (Job& job : jobs_) {
    for (size_t i = 0; i < job.admitted; ++i) {
      if (job.left[i] == 0 || --job.left[i] > 0) continue;
      ++job.done;
      --running_;
    }
    if (job.done == job.left.size()) finished.push_back(std::move(job.result));
  }
  std::erase_if(jobs_, [](const Job& job) { return job.done == job.left.size(); });
}

}  // namespace deepsearch::testing
