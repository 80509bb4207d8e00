// What an evaluation says at its end: Markdown for people, tables for run.h5. Pure.
#pragma once

#include <string>
#include <vector>

#include "evaluate/benchmark_scores.h"
#include "evaluate/benchmarks.h"
#include "run/evaluation.h"
#include "store/evaluation.h"

namespace deepsearch {

// The paper's table (a row a model, a column a benchmark, Pass@1 in per cent), then one row a benchmark with intervals,
// every k, lengths and truncation. `model`: its name in the first column.
std::string evaluation_markdown(const std::vector<BenchmarkScores>& scores, const std::string& model,
                                double confidence);

EvaluationTables evaluation_tables_of(const std::vector<Benchmark>& benchmarks,
                                      const std::vector<BenchmarkResult>& results,
                                      const std::vector<BenchmarkScores>& scores);

// The whole as training's held-out evaluations are summed up.
Evaluation evaluation_of(const BenchmarkScores& scores);

}  // namespace deepsearch
