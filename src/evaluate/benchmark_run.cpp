#include "evaluate/benchmark_run.h"

#include <algorithm>
#include <utility>

namespace deepsearch {

BenchmarkRun::BenchmarkRun(const std::vector<Benchmark>& benchmarks, const EvaluateParams& params, int64_t max_tokens,
                           std::vector<Token> eos, const Verifier& verifier, SameAnswer same)
    : benchmarks_(benchmarks),
      params_(params),
      max_tokens_(max_tokens),
      eos_(std::move(eos)),
      verifier_(verifier),
      same_(std::move(same)) {
  for (size_t b = 0; b < benchmarks.size(); ++b) {
    BenchmarkResult result{.name = benchmarks[b].name, .problems = {}};
    for (size_t p = 0; p < benchmarks[b].problems.size(); ++p) {
      const Problem& problem = benchmarks[b].problems[p];
      TreeKey key{
          .round = 0, .step = 0, .problem_index = static_cast<int64_t>(p), .problem_key = problem.key, .attempt = 0};
      while (places_.contains(key)) ++key.attempt;  // the same file twice
      places_[key] = {b, p};
      order_.emplace_back(key, Place{b, p});
      result.problems.push_back({.id = problem.id, .key = problem.key, .samples = {}});
    }
    results_.push_back(std::move(result));
  }
}

std::vector<AssignMessage::Item> BenchmarkRun::items() const {
  std::vector<AssignMessage::Item> items;
  for (const auto& [key, place] : order_) {
    if (!results_[place.benchmark].problems[place.problem].samples.empty()) continue;
    AssignMessage::Item item;
    item.key = key;
    item.problem = benchmarks_[place.benchmark].problems[place.problem];
    item.work = AssignMessage::Work::kGroup;
    item.samples = params_.samples;
    item.temperature = params_.temperature;
    item.top_p = params_.top_p;
    items.push_back(std::move(item));
  }
  return items;
}

SampleResult BenchmarkRun::judged(const TreeRecord& record, const RecordedLeaf& leaf) const {
  const std::vector<Token> response = trajectory_tokens(record, leaf.leaf);
  const bool ended = !response.empty() && std::find(eos_.begin(), eos_.end(), response.back()) != eos_.end();
  SampleResult sample;
  sample.tokens = static_cast<int64_t>(response.size());
  sample.truncated = !ended && sample.tokens >= max_tokens_;
  sample.outcome = leaf.outcome;  // as the rank that made it judged it
  sample.extracted = verifier_.verify(record.problem, response, !sample.truncated).extracted;
  return sample;
}

bool BenchmarkRun::take(const TreeRecord& record) {
  const auto found = places_.find(record.key);
  if (found == places_.end() || record.kind != RecordKind::kRollouts || record.stop_reason != StopReason::kEnough ||
      static_cast<int64_t>(record.recorded.size()) != params_.samples) {
    return false;
  }
  const auto [b, p] = found->second;
  ProblemResult& result = results_[b].problems[p];
  if (!result.samples.empty()) return false;
  for (const RecordedLeaf& leaf : record.recorded) result.samples.push_back(judged(record, leaf));
  const Problem& problem = benchmarks_[b].problems[p];
  number_answers(result.samples,
                 [&](const std::string& one, const std::string& other) { return same_(problem, one, other); });
  ++done_;
  samples_ += params_.samples;
  correct_ += result.correct();
  for (const SampleResult& sample : result.samples) tokens_ += sample.tokens;
  return true;
}

double BenchmarkRun::pass_at_1() const {
  return samples_ == 0 ? 0 : static_cast<double>(correct_) / static_cast<double>(samples_);
}

}  // namespace deepsearch
