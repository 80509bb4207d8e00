#include "evaluate/benchmarks.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/digest.h"
#include "core/error.h"
#include "run/problem_source.h"

namespace deepsearch {

namespace {

std::filesystem::path find_file(const EvaluateParams& params, const std::string& name) {
  const std::filesystem::path path = std::filesystem::path(params.folder) / name;  // an absolute name stays
  if (!std::filesystem::exists(path)) {
    bad_input("{}: no such file; [evaluate].benchmarks are looked for in [evaluate].folder (--benchmarks DIR)",
              path.string());
  }
  return path;
}

void check_names(const std::vector<Benchmark>& benchmarks) {
  std::set<std::string> seen;
  for (const Benchmark& benchmark : benchmarks) {
    if (benchmark.name.empty() || benchmark.name.size() > kMaxBenchmarkName) {
      bad_input("[evaluate].names: \"{}\" has {} bytes; a benchmark's name has 1 to {}", benchmark.name,
                benchmark.name.size(), kMaxBenchmarkName);
    }
    if (!seen.insert(benchmark.name).second) {
      bad_input("[evaluate]: two benchmarks are called \"{}\"; [evaluate].names tells them apart", benchmark.name);
    }
  }
}

Benchmark generated(const Config& config, const Domain& domain) {
  constexpr int64_t kProblems = 256;
  Benchmark benchmark{.name = config.task.name};
  const ProblemSource source(domain, config.problems, static_cast<uint64_t>(config.run.seed), /*with_training=*/false);
  int64_t count = config.evaluate.problems > 0 ? config.evaluate.problems : kProblems;
  if (source.size(Split::kTest) > 0) count = std::min(count, source.size(Split::kTest));
  for (int64_t i = 0; i < count; ++i) benchmark.problems.push_back(source.problem(Split::kTest, i));
  return benchmark;
}

}  // namespace

std::vector<Benchmark> read_benchmarks(const Config& config, const Domain& domain) {
  const EvaluateParams& params = config.evaluate;
  std::vector<Benchmark> benchmarks;
  if (params.benchmarks.empty()) {
    if (domain.task == nullptr) {
      bad_input("[evaluate].benchmarks is empty: text problems come from JSONL files (configs/eval/ has the paper's)");
    }
    benchmarks.push_back(generated(config, domain));
    return benchmarks;
  }
  if (!params.names.empty() && params.names.size() != params.benchmarks.size()) {
    bad_input("[evaluate].names has {} entries, [evaluate].benchmarks {}", params.names.size(),
              params.benchmarks.size());
  }
  for (size_t i = 0; i < params.benchmarks.size(); ++i) {
    const std::filesystem::path path = find_file(params, params.benchmarks[i]);
    Benchmark benchmark{.name = params.names.empty() ? path.stem().string() : params.names[i], .path = path.string()};
    benchmark.digest = fmt::format("{:016x}", digest_file(path).xxh64);
    PromptFile file = read_prompts(benchmark.path, *domain.language, config.problems, domain.task == nullptr);
    benchmark.too_long = file.too_long;
    for (ProblemRow& row : file.rows) benchmark.problems.push_back(std::move(row.problem));
    if (params.problems > 0 && static_cast<int64_t>(benchmark.problems.size()) > params.problems) {
      benchmark.problems.resize(static_cast<size_t>(params.problems));
    }
    benchmarks.push_back(std::move(benchmark));
  }
  check_names(benchmarks);
  return benchmarks;
}

}  // namespace deepsearch
