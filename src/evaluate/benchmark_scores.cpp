#include "evaluate/benchmark_scores.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/rng.h"
#include "run/evaluation.h"

namespace deepsearch {

namespace {

// Values of all measures, a row a problem.
struct Matrix {
  size_t columns = 0;
  std::vector<double> values;
  size_t rows() const { return values.size() / columns; }
  const double* row(size_t i) const { return values.data() + i * columns; }
};

Matrix measures_of(const BenchmarkResult& benchmark, const std::vector<int64_t>& ks) {
  Matrix matrix{.columns = 2 * ks.size(), .values = {}};
  for (const ProblemResult& problem : benchmark.problems) {
    const auto n = static_cast<int64_t>(problem.samples.size());
    for (const int64_t k : ks) matrix.values.push_back(pass_at_k(n, problem.correct(), k));
    for (const int64_t k : ks) matrix.values.push_back(majority_at_k(problem.samples, k));
  }
  return matrix;
}

std::vector<double> means(const Matrix& matrix) {
  std::vector<double> sums(matrix.columns, 0);
  for (size_t i = 0; i < matrix.rows(); ++i) {
    for (size_t c = 0; c < matrix.columns; ++c) sums[c] += matrix.row(i)[c];
  }
  for (double& sum : sums) sum /= static_cast<double>(matrix.rows());
  return sums;
}

// Means of the measures over resampled problems, column by column: [columns][resamples].
std::vector<std::vector<double>> resampled_means(const Matrix& matrix, int64_t resamples, uint64_t stream) {
  std::vector<std::vector<double>> out(matrix.columns, std::vector<double>(static_cast<size_t>(resamples)));
  RandomStream random(/*seed=*/0, RngPurpose::kShuffle, mix_all(hash_text("bootstrap"), stream));
  std::vector<double> sums(matrix.columns);
  const uint64_t rows = matrix.rows();
  for (size_t r = 0; r < static_cast<size_t>(resamples); ++r) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (uint64_t i = 0; i < rows; ++i) {
      const double* row = matrix.row(random.below(rows));
      for (size_t c = 0; c < matrix.columns; ++c) sums[c] += row[c];
    }
    for (size_t c = 0; c < matrix.columns; ++c) out[c][r] = sums[c] / static_cast<double>(rows);
  }
  return out;
}

// The q-th quantile of sorted values, between neighbours in a straight line (numpy's default).
double quantile(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

void set_interval(Score& score, std::vector<double> means, double confidence) {
  std::sort(means.begin(), means.end());
  score.low = quantile(means, (1 - confidence) / 2);
  score.high = quantile(means, (1 + confidence) / 2);
}

std::vector<Score> scores_of(const std::vector<double>& values, const std::vector<std::vector<double>>& resampled,
                             const ScoreParams& params) {
  std::vector<Score> scores;
  for (size_t c = 0; c < values.size(); ++c) {
    Score score{.measure = c < params.ks.size() ? Measure::kPass : Measure::kMajority,
                .k = params.ks[c % params.ks.size()],
                .value = values[c]};
    set_interval(score, resampled[c], params.confidence);
    scores.push_back(score);
  }
  return scores;
}

void count_lengths(const BenchmarkResult& benchmark, BenchmarkScores& scores) {
  int64_t samples = 0;
  for (const ProblemResult& problem : benchmark.problems) {
    for (const SampleResult& sample : problem.samples) {
      ++samples;
      scores.response_tokens += static_cast<double>(sample.tokens);
      scores.truncated += sample.truncated ? 1 : 0;
      scores.unanswered += sample.answer < 0 ? 1 : 0;
    }
  }
  for (double* value : {&scores.response_tokens, &scores.truncated, &scores.unanswered}) {
    *value /= static_cast<double>(samples);
  }
}

}  // namespace

int64_t ProblemResult::correct() const {
  return std::count_if(samples.begin(), samples.end(),
                       [](const SampleResult& sample) { return sample.outcome == Outcome::kCorrect; });
}

void number_answers(std::vector<SampleResult>& samples,
                    const std::function<bool(const std::string& a, const std::string& b)>& same) {
  std::vector<const std::string*> firsts;  // of the answers 1, 2, …
  for (SampleResult& sample : samples) {
    if (sample.outcome == Outcome::kCorrect) {
      sample.answer = 0;
    } else if (sample.extracted.empty()) {
      sample.answer = -1;
    } else {
      const auto found = std::find_if(firsts.begin(), firsts.end(), [&](const std::string* first) {
        return *first == sample.extracted || same(*first, sample.extracted);
      });
      sample.answer = static_cast<int32_t>(found - firsts.begin()) + 1;
      if (found == firsts.end()) firsts.push_back(&sample.extracted);
    }
  }
}

bool majority_correct(const SampleResult* samples, int64_t n) {
  std::map<int32_t, int64_t> votes;
  for (int64_t i = 0; i < n; ++i) {
    if (samples[i].answer >= 0) ++votes[samples[i].answer];
  }
  int64_t most = 0;
  for (const auto& [answer, count] : votes) most = std::max(most, count);
  if (most == 0) return false;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t answer = samples[i].answer;
    if (answer >= 0 && votes[answer] == most) return answer == 0;
  }
  return false;
}

double majority_at_k(const std::vector<SampleResult>& samples, int64_t k) {
  const int64_t runs = static_cast<int64_t>(samples.size()) / k;
  int64_t correct = 0;
  for (int64_t run = 0; run < runs; ++run) correct += majority_correct(samples.data() + run * k, k) ? 1 : 0;
  return static_cast<double>(correct) / static_cast<double>(runs);
}

const Score& BenchmarkScores::at(Measure measure, int64_t k) const {
  for (const Score& score : scores) {
    if (score.measure == measure && score.k == k) return score;
  }
  failure("{}: no score at k = {}", name, k);
}

std::vector<BenchmarkScores> score_benchmarks(const std::vector<BenchmarkResult>& benchmarks,
                                              const ScoreParams& params) {
  std::vector<BenchmarkScores> all;
  BenchmarkScores average{.name = "average"};
  std::vector<double> sum(2 * params.ks.size(), 0);
  std::vector<std::vector<double>> sum_resampled(sum.size(),
                                                 std::vector<double>(static_cast<size_t>(params.resamples), 0));
  const double share = 1.0 / static_cast<double>(benchmarks.size());
  for (const BenchmarkResult& benchmark : benchmarks) {
    const Matrix matrix = measures_of(benchmark, params.ks);
    const std::vector<double> values = means(matrix);
    const auto resampled = resampled_means(matrix, params.resamples, all.size());
    BenchmarkScores scores{.name = benchmark.name};
    scores.problems = static_cast<int64_t>(benchmark.problems.size());
    scores.samples = static_cast<int64_t>(benchmark.problems.front().samples.size());
    scores.scores = scores_of(values, resampled, params);
    count_lengths(benchmark, scores);
    for (size_t c = 0; c < sum.size(); ++c) {
      sum[c] += share * values[c];
      for (size_t r = 0; r < resampled[c].size(); ++r) sum_resampled[c][r] += share * resampled[c][r];
    }
    average.problems += scores.problems;
    average.samples = scores.samples;
    average.response_tokens += share * scores.response_tokens;
    average.truncated += share * scores.truncated;
    average.unanswered += share * scores.unanswered;
    all.push_back(std::move(scores));
  }
  if (benchmarks.size() < 2) return all;
  average.scores = scores_of(sum, sum_resampled, params);
  all.push_back(std::move(average));
  return all;
}

std::vector<int64_t> default_ks(int64_t samples) {
  std::vector<int64_t> ks;
  for (int64_t k = 1; k < samples; k *= 2) ks.push_back(k);
  ks.push_back(samples);
  return ks;
}

}  // namespace deepsearch
