#include "engine/standins.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "core/rng.h"

namespace deepsearch {

// --- Scripted, random
// -------------------------------------------------------------------------------------------------

ScriptedGenerator::ScriptedGenerator(Script script, int64_t delay_polls)
    : script_(std::move(script)), delay_polls_(delay_polls) {}

void ScriptedGenerator::submit(ExpansionRequest request) {
  queue_.push_back({.request = std::move(request), .due = polls_ + delay_polls_});
}

void ScriptedGenerator::poll(std::vector<Expansion>& finished) {
  while (!queue_.empty() && queue_.front().due <= polls_) {
    finished.push_back(script_(queue_.front().request));
    queue_.pop_front();
  }
  ++polls_;
}

void ScriptedGenerator::release(uint64_t tree) {
  std::erase_if(queue_, [&](const Waiting& waiting) { return waiting.request.tree == tree; });
}

ScriptedGenerator::Script random_policy(const RandomPolicy& policy, uint64_t seed) {
  if (policy.vocab_size < 2) failure("random policy: a vocabulary of {}; at least 2 are needed", policy.vocab_size);
  return [policy, seed](const ExpansionRequest& request) {
    Expansion expansion{.tree = request.tree, .node = request.node, .children = {}};
    for (int32_t child = 0; child < request.n_children; ++child) {
      RandomStream random(seed, RngPurpose::kSampling, mix_all(request.sampling_key, child));
      Step step;
      while (step.finish != Finish::kEos && static_cast<int32_t>(step.tokens.size()) < request.max_tokens) {
        const bool ends = random.uniform() < policy.eos_probability;
        Token token = policy.eos;
        while (!ends && token == policy.eos) {
          token = static_cast<Token>(random.below(static_cast<uint64_t>(policy.vocab_size)));
        }
        step.tokens.push_back(token);
        step.logprobs.push_back(static_cast<float>(-2.0 * policy.entropy * random.uniform()));
        step.entropies.push_back(static_cast<float>(2.0 * policy.entropy * random.uniform()));
        if (ends) step.finish = Finish::kEos;
      }
      expansion.tokens_generated += static_cast<int64_t>(step.tokens.size());
      expansion.children.push_back(std::move(step));
    }
    return expansion;
  };
}

// --- Recording and playing back
// ---------------------------------------------------------------------------------------

RecordingGenerator::RecordingGenerator(StepGenerator& inner, Recording& recording)
    : inner_(inner), recording_(recording) {}

void RecordingGenerator::submit(ExpansionRequest request) {
  std::deque<uint64_t>& keys = keys_[request.tree][request.node];
  if (!keys.empty()) failure("recording: node {} of a tree has two expansions under way", request.node);
  keys.push_back(request.sampling_key);
  inner_.submit(std::move(request));
}

void RecordingGenerator::poll(std::vector<Expansion>& finished) {
  const size_t before = finished.size();
  inner_.poll(finished);
  for (size_t i = before; i < finished.size(); ++i) {
    std::deque<uint64_t>& keys = keys_[finished[i].tree][finished[i].node];
    if (keys.empty()) failure("recording: an expansion of node {} nobody asked for", finished[i].node);
    recording_.expansions.emplace_back(keys.front(), finished[i]);
    keys.pop_front();
  }
}

void RecordingGenerator::release(uint64_t tree) {
  keys_.erase(tree);
  inner_.release(tree);
}

RecordedGenerator::RecordedGenerator(const Recording& recording, int64_t delay_polls)
    : ScriptedGenerator(
          [by_key = std::unordered_map<uint64_t, Expansion>(recording.expansions.begin(), recording.expansions.end())](
              const ExpansionRequest& request) {
            const auto found = by_key.find(request.sampling_key);
            if (found == by_key.end()) {
              failure("recorded generator: nothing was recorded for node {} (sampling key {:#x})", request.node,
                      request.sampling_key);
            }
            Expansion expansion = found->second;
            expansion.tree = request.tree;
            expansion.node = request.node;
            return expansion;
          },
          delay_polls) {}

// --- Simulated latency
// ------------------------------------------------------------------------------------------------

LatencyGenerator::LatencyGenerator(ScriptedGenerator::Script script, const LatencyModel& model)
    : script_(std::move(script)), model_(model) {
  if (model.max_batch < 1) failure("latency generator: a batch of {}", model.max_batch);
}

void LatencyGenerator::submit(ExpansionRequest request) {
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

void LatencyGenerator::poll(std::vector<Expansion>& finished) {
  if (jobs_.empty()) return;
  for (Job& job : jobs_) {
    if (running_ >= model_.max_batch) break;
    if (job.admitted == 0)
      prefill_due_ += static_cast<double>(job.result.tokens_prefilled) * model_.prefill_token_seconds;
    while (job.admitted < job.left.size() && running_ < model_.max_batch) {
      ++job.admitted;
      ++running_;
    }
  }
  seconds_ += model_.step_seconds + static_cast<double>(running_) * model_.sequence_seconds + prefill_due_;
  prefill_due_ = 0;
  ++decode_steps_;
  sequence_steps_ += running_;
  for (Job& job : jobs_) {
    for (size_t i = 0; i < job.admitted; ++i) {
      if (job.left[i] == 0) continue;
      if (--job.left[i] > 0) continue;
      ++job.done;
      --running_;
    }
    if (job.done == job.left.size()) finished.push_back(std::move(job.result));
  }
  std::erase_if(jobs_, [](const Job& job) { return job.done == job.left.size(); });
}

void LatencyGenerator::release(uint64_t tree) {
  for (const Job& job : jobs_) {
    if (job.tree == tree) running_ -= static_cast<int64_t>(job.admitted - job.done);
  }
  std::erase_if(jobs_, [&](const Job& job) { return job.tree == tree; });
  cached_.erase(tree);
}

void LatencyGenerator::advance_to(double seconds) {
  seconds_ = std::max(seconds_, seconds);
}

// --- Comparing
// --------------------------------------------------------------------------------------------------------

ComparingGenerator::ComparingGenerator(StepGenerator& first, StepGenerator& second, double tolerance)
    : first_(first), second_(second), tolerance_(tolerance) {}

void ComparingGenerator::submit(ExpansionRequest request) {
  ++live_[request.tree];
  ++in_flight_;
  first_.submit(request);
  second_.submit(std::move(request));
}

void ComparingGenerator::poll(std::vector<Expansion>& finished) {
  first_.poll(from_first_);
  second_.poll(from_second_);
  match(finished);
}

void ComparingGenerator::match(std::vector<Expansion>& finished) {
  for (auto a = from_first_.begin(); a != from_first_.end();) {
    const auto b = std::find_if(from_second_.begin(), from_second_.end(),
                                [&](const Expansion& e) { return e.tree == a->tree && e.node == a->node; });
    if (b == from_second_.end()) {
      ++a;
      continue;
    }
    compare(*a, *b);
    --live_[a->tree];
    --in_flight_;
    finished.push_back(std::move(*a));
    from_second_.erase(b);
    a = from_first_.erase(a);
  }
}

void ComparingGenerator::compare(const Expansion& a, const Expansion& b) {
  const auto differ = [&](const std::string& what) {
    differences_.push_back(fmt::format("tree {:#x} node {}: {}", a.tree, a.node, what));
  };
  if (a.children.size() != b.children.size()) {
    differ(fmt::format("{} children against {}", a.children.size(), b.children.size()));
    return;
  }
  for (size_t i = 0; i < a.children.size(); ++i) {
    const Step& x = a.children[i];
    const Step& y = b.children[i];
    const size_t n = std::min(x.tokens.size(), y.tokens.size());
    for (size_t t = 0; t < n; ++t) {
      ++compared_tokens_;
      if (x.tokens[t] != y.tokens[t]) {
        differ(fmt::format("child {} token {}: {} against {}", i, t, x.tokens[t], y.tokens[t]));
        break;  // what follows has another prefix
      }
      if (!(std::abs(x.logprobs[t] - y.logprobs[t]) <= tolerance_ &&
            std::abs(x.entropies[t] - y.entropies[t]) <= tolerance_)) {
        differ(fmt::format("child {} token {}: log-prob {} against {}, entropy {} against {}", i, t, x.logprobs[t],
                           y.logprobs[t], x.entropies[t], y.entropies[t]));
      }
      if (t + 1 == n && x.tokens.size() != y.tokens.size()) {
        differ(fmt::format("child {}: {} tokens against {}", i, x.tokens.size(), y.tokens.size()));
      }
    }
  }
}

void ComparingGenerator::release(uint64_t tree) {
  first_.release(tree);
  second_.release(tree);
  if (const auto live = live_.find(tree); live != live_.end()) {
    in_flight_ -= live->second;
    live_.erase(live);
  }
  const auto of_tree = [&](const Expansion& e) { return e.tree == tree; };
  std::erase_if(from_first_, of_tree);
  std::erase_if(from_second_, of_tree);
}

}  // namespace deepsearch
