#include "store/evaluation_tables.h"

#include <vector>

#include "store/column_table.h"
#include "store/evaluation_rows.h"

namespace deepsearch {

namespace {

template <class Line>
void write_table(hid_t file, const Hdf5Place& place, const char* path, const std::vector<Line>& lines) {
  TableWriter table(file, place, table_schema(evaluation_tables(), path));
  table.append(std::span<const Line>(lines));
  table.close();
}

}  // namespace

void write_evaluation(hid_t file, const EvaluationTables& tables, const Hdf5Place& place) {
  std::vector<BenchmarkLine> benchmarks;
  for (const auto& row : tables.benchmarks) {
    benchmarks.push_back({fixed_text<32>(row.name), fixed_text<256>(row.file), row.problems, row.samples,
                          row.response_tokens, row.truncated, row.unanswered});
  }
  std::vector<ScoreLine> scores;
  for (const auto& row : tables.scores) {
    scores.push_back({row.benchmark, row.measure, row.k, row.value, row.low, row.high});
  }
  std::vector<EvaluatedProblemLine> problems;
  for (const auto& row : tables.problems) {
    problems.push_back(
        {row.benchmark, row.index, row.key, fixed_text<64>(row.id), row.samples, row.correct, row.majority});
  }
  std::vector<SampleLine> samples;
  for (const auto& row : tables.samples) {
    samples.push_back(
        {row.problem, row.sample, row.outcome, row.answer, row.tokens, row.truncated, fixed_text<128>(row.extracted)});
  }
  write_table(file, place, "/evaluation/benchmarks", benchmarks);
  write_table(file, place, "/evaluation/scores", scores);
  write_table(file, place, "/evaluation/problems", problems);
  write_table(file, place, "/evaluation/samples", samples);
}

}  // namespace deepsearch
