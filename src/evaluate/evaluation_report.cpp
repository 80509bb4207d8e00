#include "evaluate/evaluation_report.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/version.h"

namespace deepsearch {

namespace {

using Cells = std::vector<std::vector<std::string>>;

// Columns as wide as their widest cell; the first to the left, numbers to the right.
std::string table_of(const Cells& rows) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t c = 0; c < rows[r].size(); ++c) {
      text +=
          c == 0 ? fmt::format("| {:<{}} ", rows[r][c], widths[c]) : fmt::format("| {:>{}} ", rows[r][c], widths[c]);
    }
    text += "|\n";
    if (r > 0) continue;
    for (size_t c = 0; c < widths.size(); ++c) {
      text += fmt::format("|{:-<{}}{}", "", widths[c] + (c == 0 ? 2 : 1), c == 0 ? "" : ":");
    }
    text += "|\n";
  }
  return text;
}

std::string percent(double fraction) {
  return fmt::format("{:.2f}", 100 * fraction);
}

std::string name_of(const Score& score) {
  return fmt::format("{}@{}", score.measure == Measure::kPass ? "Pass" : "majority", score.k);
}

}  // namespace

std::string evaluation_markdown(const std::vector<BenchmarkScores>& scores, const std::string& model,
                                double confidence) {
  Cells paper = {{"model"}, {model}};
  const std::string interval = fmt::format("{:.0f} % interval", 100 * confidence);
  Cells detail = {{"benchmark", "problems", "Pass@1", interval}};
  for (const Score& score : scores.front().scores) {
    if (score.measure != Measure::kPass || score.k != 1) detail[0].push_back(name_of(score));
  }
  for (const char* head : {"tokens", "truncated", "no answer"}) detail[0].emplace_back(head);
  for (const BenchmarkScores& benchmark : scores) {
    const Score& first = benchmark.at(Measure::kPass, 1);
    paper[0].push_back(benchmark.name);
    paper[1].push_back(percent(first.value));
    std::vector<std::string> row = {benchmark.name, fmt::format("{}", benchmark.problems), percent(first.value),
                                    fmt::format("{} to {}", percent(first.low), percent(first.high))};
    for (const Score& score : benchmark.scores) {
      if (score.measure != Measure::kPass || score.k != 1) row.push_back(percent(score.value));
    }
    row.push_back(fmt::format("{:.1f}", benchmark.response_tokens));
    row.push_back(percent(benchmark.truncated));
    row.push_back(percent(benchmark.unanswered));
    detail.push_back(std::move(row));
  }
  return fmt::format("Pass@1, mean of {} samples a problem, in per cent:\n\n{}\n{}\nMade by {}.\n",
                     scores.front().samples, table_of(paper), table_of(detail), program());
}

EvaluationTables evaluation_tables_of(const std::vector<Benchmark>& benchmarks,
                                      const std::vector<BenchmarkResult>& results,
                                      const std::vector<BenchmarkScores>& scores) {
  EvaluationTables tables;
  for (size_t b = 0; b < scores.size(); ++b) {
    const BenchmarkScores& own = scores[b];
    tables.benchmarks.push_back({.name = own.name,
                                 .file = b < benchmarks.size() ? benchmarks[b].path : "",
                                 .problems = own.problems,
                                 .samples = own.samples,
                                 .response_tokens = own.response_tokens,
                                 .truncated = own.truncated,
                                 .unanswered = own.unanswered});
    for (const Score& score : own.scores) {
      tables.scores.push_back({.benchmark = static_cast<int64_t>(b),
                               .measure = score.measure == Measure::kPass ? EvaluationTables::Measure::kPass
                                                                          : EvaluationTables::Measure::kMajority,
                               .k = score.k,
                               .value = score.value,
                               .low = score.low,
                               .high = score.high});
    }
  }
  for (size_t b = 0; b < results.size(); ++b) {
    for (size_t p = 0; p < results[b].problems.size(); ++p) {
      const ProblemResult& problem = results[b].problems[p];
      const auto row = static_cast<int64_t>(tables.problems.size());
      const auto n = static_cast<int64_t>(problem.samples.size());
      tables.problems.push_back({.benchmark = static_cast<int64_t>(b),
                                 .index = static_cast<int64_t>(p),
                                 .key = problem.key,
                                 .id = problem.id,
                                 .samples = n,
                                 .correct = problem.correct(),
                                 .majority = majority_correct(problem.samples.data(), n)});
      for (const SampleResult& sample : problem.samples) {
        tables.samples.push_back({.problem = row,
                                  .sample = static_cast<int64_t>(&sample - problem.samples.data()),
                                  .outcome = sample.outcome,
                                  .answer = sample.answer,
                                  .tokens = sample.tokens,
                                  .truncated = sample.truncated,
                                  .extracted = sample.extracted});
      }
    }
  }
  return tables;
}

Evaluation evaluation_of(const BenchmarkScores& scores) {
  Evaluation evaluation;
  evaluation.problems = scores.problems;
  evaluation.samples = scores.samples;
  evaluation.k = 0;
  for (const Score& score : scores.scores) {
    if (score.measure == Measure::kPass && score.k == 1) evaluation.pass_at_1 = score.value;
    if (score.measure != Measure::kPass || score.k < evaluation.k) continue;
    evaluation.k = score.k;
    evaluation.pass_at_k = score.value;
  }
  evaluation.reward_mean = 2 * evaluation.pass_at_1 - 1;
  evaluation.response_tokens_mean = scores.response_tokens;
  evaluation.truncated_fraction = scores.truncated;
  return evaluation;
}

}  // namespace deepsearch
