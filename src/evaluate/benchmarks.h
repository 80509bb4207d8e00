// The benchmarks of an evaluation: [evaluate].benchmarks read, or held-out problems of an embedded task.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/problem.h"
#include "run/config.h"
#include "run/domain.h"

namespace deepsearch {

struct Benchmark {
  std::string name;
  std::string path = "";    // "": made by the task
  std::string digest = "";  // of the file's bytes, "": made by the task
  std::vector<Problem> problems = {};
  int64_t too_long = 0;  // problems left out: [problems].long_prompts
};

// bad_input: a file that is not there (says where it was looked for) or is malformed, names that are not as many as
// files, or not different, or longer than kMaxBenchmarkName.
std::vector<Benchmark> read_benchmarks(const Config& config, const Domain& domain);

inline constexpr size_t kMaxBenchmarkName = 16;  // bytes; /problems/split of run.h5 holds it

}  // namespace deepsearch
