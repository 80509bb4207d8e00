#include "simulate/timed_engine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"

namespace deepsearch {

TimedEngine::TimedEngine(ExpansionScript script, const LatencyModel& model, int rank)
    : script_(std::move(script)), model_(model), rank_(rank) {
  if (model.max_batch < 1) failure("timed engine: a batch of {}", model.max_batch);
}

void TimedEngine::submit(ExpansionRequest request) {
  Job job{.serial = next_serial_++, .tree = request.tree, .left = {}, .result = script_(request)};
  for (Step& step : job.result.children) {
    step.policy_version = version_;
    job.left.push_back(std::max<int32_t>(1, static_cast<int32_t>(step.tokens.size())));
  }
  job.result.made_by_rank = rank_;
  Cached& cached = trees_[request.tree];
  const auto known = [&cached](int32_t node) {
    const auto at = static_cast<size_t>(node);
    if (at >= cached.nodes.size()) cached.nodes.resize(at + 1);
    return cached.nodes[at];
  };
  for (const PathSegment& part : request.path) {
    if (known(part.node)) continue;
    job.result.tokens_prefilled += part.n_tokens;
    cached.nodes[static_cast<size_t>(part.node)] = true;
  }
  for (size_t i = 0; i < job.left.size(); ++i) {
    const int32_t child = request.first_child + static_cast<int32_t>(i);
    if (!known(child)) cached.nodes[static_cast<size_t>(child)] = true;
  }
  cached.jobs.push_back(job.serial);
  waiting_ += static_cast<int64_t>(job.left.size());
  ++in_flight_;
  queue_.push_back(job.serial);
  jobs_.emplace(job.serial, std::move(job));
}

void TimedEngine::poll(std::vector<Expansion>& finished) {
  std::sort(done_.begin(), done_.end());
  for (const int64_t serial : done_) {
    const auto place = jobs_.find(serial);
    if (place == jobs_.end()) continue;  // released
    std::erase(trees_.at(place->second.tree).jobs, serial);
    finished.push_back(std::move(place->second.result));
    jobs_.erase(place);
    --in_flight_;
  }
  done_.clear();
}

void TimedEngine::release(uint64_t tree) {
  const auto place = trees_.find(tree);
  if (place == trees_.end()) return;
  for (const int64_t serial : place->second.jobs) {
    const Job& job = jobs_.at(serial);
    running_ -= static_cast<int64_t>(job.admitted - job.done);
    waiting_ -= static_cast<int64_t>(job.left.size() - job.admitted);
    --in_flight_;
    jobs_.erase(serial);
  }
  trees_.erase(place);
}

void TimedEngine::wait_until(double seconds) {
  now_ = std::max(now_, seconds);
}

void TimedEngine::admit() {
  while (running_ < model_.max_batch && !queue_.empty()) {
    const auto place = jobs_.find(queue_.front());
    if (place == jobs_.end()) {  // released
      queue_.pop_front();
      continue;
    }
    Job& job = place->second;
    if (job.admitted == 0) {
      prefill_ += static_cast<double>(job.result.tokens_prefilled) * model_.prefill_token_seconds;
      counters_.tokens_prefilled += job.result.tokens_prefilled;
    }
    for (; job.admitted < job.left.size() && running_ < model_.max_batch; ++job.admitted, ++running_, --waiting_) {
      endings_.push({.step = step_ + job.left[job.admitted], .serial = job.serial});
    }
    if (job.admitted < job.left.size()) break;
    queue_.pop_front();
  }
}

int64_t TimedEngine::start() {
  admit();
  while (!endings_.empty() && !jobs_.contains(endings_.top().serial)) endings_.pop();
  announced_ = running_ == 0 ? 0 : endings_.top().step - step_;
  further_ = model_.step_seconds + static_cast<double>(running_) * model_.sequence_seconds;
  first_ = further_ + prefill_;
  return announced_;
}

double TimedEngine::end_of(int64_t n) const {
  return now_ + first_ + static_cast<double>(n - 1) * further_;
}

int64_t TimedEngine::steps_by(double seconds) const {
  const double more = std::ceil((seconds - now_ - first_) / further_);
  return std::clamp<int64_t>(1 + static_cast<int64_t>(std::max(0.0, more)), 1, announced_);
}

void TimedEngine::run(int64_t n) {
  if (n < 1 || n > announced_) failure("timed engine: {} decode steps of {} that were started", n, announced_);
  const double end = end_of(n);
  const double took = end - now_;
  if (!busy_.empty() && busy_.back().end == now_) {
    busy_.back().end = end;
  } else {
    busy_.push_back({now_, end});
  }
  counters_.decode_steps += n;
  counters_.tokens_generated += n * running_;
  counters_.busy_seconds += took;
  counters_.running_seconds += took * static_cast<double>(running_);
  counters_.waiting_seconds += took * static_cast<double>(waiting_);
  now_ = end;
  step_ += n;
  announced_ = 0;
  prefill_ = 0;
  for (; !endings_.empty() && endings_.top().step <= step_; endings_.pop()) {
    const auto place = jobs_.find(endings_.top().serial);
    if (place == jobs_.end()) continue;
    --running_;
    if (++place->second.done == place->second.left.size()) done_.push_back(place->first);
  }
}

}  // namespace deepsearch
