// An evaluation's work and what has come of it: which problems are still to be answered, and the verdicts on the
// responses so far. Without messages, clocks or files. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "comm/messages.h"
#include "data/tree_record.h"
#include "evaluate/benchmark_scores.h"
#include "evaluate/benchmarks.h"
#include "run/verification.h"
#include "verify/verifier.h"

namespace deepsearch {

class BenchmarkRun {
 public:
  // `max_tokens`: of a response. References outlive it.
  BenchmarkRun(const std::vector<Benchmark>& benchmarks, const EvaluateParams& params, int64_t max_tokens,
               std::vector<Token> eos, const Verifier& verifier, SameAnswer same);

  // The problems that no record has been taken of, in their order. Samples of a problem are one item, so that they
  // share its prompt's KV. Their work is kGroup: as kEvaluate, and stored.
  std::vector<AssignMessage::Item> items() const;

  // The key a problem's record has: it does not depend on what else is evaluated, and so neither do the responses.
  // False: the record is of no problem here, has come before, or was broken off.
  bool take(const TreeRecord& record);

  int64_t problems() const { return static_cast<int64_t>(places_.size()); }
  int64_t done() const { return done_; }
  double pass_at_1() const;  // so far
  int64_t tokens() const { return tokens_; }

  // All problems are done.
  const std::vector<BenchmarkResult>& results() const { return results_; }

 private:
  struct Place {
    size_t benchmark = 0;
    size_t problem = 0;
  };
  SampleResult judged(const TreeRecord& record, const RecordedLeaf& leaf) const;

  const std::vector<Benchmark>& benchmarks_;
  const EvaluateParams& params_;
  int64_t max_tokens_;
  std::vector<Token> eos_;
  const Verifier& verifier_;
  SameAnswer same_;
  std::map<TreeKey, Place> places_;
  std::vector<std::pair<TreeKey, Place>> order_;
  std::vector<BenchmarkResult> results_;
  int64_t done_ = 0;
  int64_t samples_ = 0;
  int64_t correct_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace deepsearch
