// What samples of benchmarks say: Pass@k, majority@k, intervals, lengths. Pure; docs/evaluate.md has the definitions.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/verdict.h"

namespace deepsearch {

// One response to a problem.
struct SampleResult {
  Outcome outcome = Outcome::kNone;
  std::string extracted;  // the answer as the verifier read it; "": none
  // Which answer it gave: 0 the right one, 1, 2, … others in the order they first came, −1 none.
  int32_t answer = -1;
  int64_t tokens = 0;
  bool truncated = false;  // cut off at the longest length
};

struct ProblemResult {
  std::string id;
  uint64_t key = 0;
  std::vector<SampleResult> samples = {};  // by number
  int64_t correct() const;
};

struct BenchmarkResult {
  std::string name;
  std::vector<ProblemResult> problems = {};
};

// Fills in `answer`. A correct sample gave the right answer; others are compared with the first of each answer so far.
void number_answers(std::vector<SampleResult>& samples,
                    const std::function<bool(const std::string& a, const std::string& b)>& same);

// Is the answer that most of `samples` give the right one? Of answers with equally many votes the one that came first
// counts; samples without an answer do not vote, and without any vote it is not.
bool majority_correct(const SampleResult* samples, int64_t n);
// The mean of that over the ⌊n/k⌋ runs of k samples one after another.
double majority_at_k(const std::vector<SampleResult>& samples, int64_t k);

enum class Measure : uint8_t { kPass = 0, kMajority = 1 };

struct Score {
  Measure measure = Measure::kPass;
  int64_t k = 1;
  double value = 0;  // mean over problems
  double low = 0;    // bootstrap interval
  double high = 0;
};

struct BenchmarkScores {
  std::string name;
  int64_t problems = 0;
  int64_t samples = 0;             // per problem
  std::vector<Score> scores = {};  // Pass@k by k, then majority@k by k
  double response_tokens = 0;
  double truncated = 0;  // fractions of samples
  double unanswered = 0;
  const Score& at(Measure measure, int64_t k) const;  // failure() when it is not there
};

struct ScoreParams {
  std::vector<int64_t> ks;  // ascending, from 1 to the number of samples
  double confidence = 0.95;
  int64_t resamples = 10000;
};

// One for each benchmark and, last, where there are several, "average": the plain mean over them. Intervals are
// percentiles of the mean over resampled problems (Efron 1979), within each benchmark, with fixed random numbers.
// Benchmarks have at least one problem, and all problems equally many samples.
std::vector<BenchmarkScores> score_benchmarks(const std::vector<BenchmarkResult>& benchmarks,
                                              const ScoreParams& params);

// 1, 2, 4, … and `samples`.
std::vector<int64_t> default_ks(int64_t samples);

}  // namespace deepsearch
