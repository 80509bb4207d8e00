// What an evaluation found, as rows of run.h5 (docs/hdf5.md): /evaluation/{benchmarks,scores,problems,samples}. Plain
// values, written by RunWriter::finish.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/verdict.h"

namespace deepsearch {

struct EvaluationTables {
  struct Benchmark {
    std::string name;
    std::string file;  // "": problems that the task made
    int64_t problems = 0;
    int64_t samples = 0;  // per problem
    double response_tokens = 0;
    double truncated = 0;
    double unanswered = 0;
  };
  enum class Measure : uint8_t { kPass = 0, kMajority = 1 };
  struct Score {
    int64_t benchmark = 0;  // row of benchmarks
    Measure measure = Measure::kPass;
    int64_t k = 1;
    double value = 0;
    double low = 0;
    double high = 0;
  };
  struct Problem {
    int64_t benchmark = 0;
    int64_t index = 0;  // in the benchmark
    uint64_t key = 0;
    std::string id;
    int64_t samples = 0;
    int64_t correct = 0;
    bool majority = false;  // of all samples
  };
  struct Sample {
    int64_t problem = 0;  // row of problems
    int64_t sample = 0;
    Outcome outcome = Outcome::kNone;
    int32_t answer = -1;
    int64_t tokens = 0;
    bool truncated = false;
    std::string extracted;
  };
  std::vector<Benchmark> benchmarks;
  std::vector<Score> scores;
  std::vector<Problem> problems;
  std::vector<Sample> samples;
};

}  // namespace deepsearch
