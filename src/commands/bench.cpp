#include <memory>

#include <CLI/CLI.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "core/progress.h"
#include "measure/search_bench.h"
#include "run/config.h"
#include "run/setup.h"
#include "verify/task_verifier.h"

namespace deepsearch {

namespace {

struct Options {
  std::string config_path;
  std::vector<std::string> overrides;
  std::string model;
  std::vector<int64_t> sizes = {8, 12, 16};
  int64_t problems = 128;
  int64_t max_tokens = 60000;
  int64_t trees = 8;
};

// Config, task and engine with weights: what every benchmark of the policy starts from.
struct Bench {
  Config config;
  std::shared_ptr<const Task> task;
  std::unique_ptr<TaskVerifier> verifier;
  std::unique_ptr<Engine> engine;
};

Bench make_bench(const Options& options, const std::vector<std::string>& more) {
  std::vector<std::string> overrides = options.overrides;
  overrides.insert(overrides.end(), more.begin(), more.end());
  if (!options.model.empty()) overrides.push_back("model.path=\"" + options.model + "\"");
  Bench bench;
  bench.config = read_config(options.config_path, overrides);
  bench.task = make_task(bench.config.task);
  bench.verifier = std::make_unique<TaskVerifier>(bench.task);
  const ModelWeights weights = start_weights(bench.config, *bench.task);
  bench.engine = make_engine(bench.config.engine, weights.config, static_cast<uint64_t>(bench.config.run.seed), 0);
  bench.engine->set_weights(weights, 0);
  return bench;
}

// When no rollout succeeded: they cost more than all their tokens for one solution.
double least_ratio(const SearchBenchResult& result) {
  return static_cast<double>(result.rollouts.tokens) / result.tree.tokens_per_solution();
}

int bench_search_command(const Options& options) {
  fmt::print("generated tokens per first solution, up to {} tokens a problem, {} held-out problems each\n\n",
             options.max_tokens, options.problems);
  fmt::print("{:>4} | {:>8} {:>12} {:>8} | {:>8} {:>12} {:>8} | {:>8} {}\n", "k", "rollouts", "tokens/sol.", "seconds",
             "tree", "tokens/sol.", "seconds", "ratio", "solved by the tree alone");
  for (const int64_t size : options.sizes) {
    Bench bench = make_bench(options, {fmt::format("task.sizes=[{}]", size)});
    Progress progress(fmt::format("k = {}", size), 2 * options.problems, /*enabled=*/true);
    const SearchBenchResult result =
        bench_search(bench.config, *bench.task, *bench.verifier, *bench.engine, options.problems, options.max_tokens,
                     [&](int64_t done) { progress.update(done, ""); });
    progress.finish();
    const std::string ratio = result.rollouts.solved > 0 && result.tree.solved > 0
                                  ? fmt::format("{:.1f}x", result.ratio())
                              : result.tree.solved > 0 ? fmt::format("> {:.1f}x", least_ratio(result))
                                                       : "none";
    fmt::print("{:>4} | {:>4}/{:<3} {:>12.0f} {:>8.1f} | {:>4}/{:<3} {:>12.0f} {:>8.1f} | {:>8} {}\n", size,
               result.rollouts.solved, options.problems, result.rollouts.tokens_per_solution(), result.rollouts.seconds,
               result.tree.solved, options.problems, result.tree.tokens_per_solution(), result.tree.seconds, ratio,
               result.saved_by_tree);
  }
  return kExitOk;
}

int bench_signature_command(const Options& options) {
  Bench bench = make_bench(options, {});
  fmt::print("{:016x}  {} trees, seed {}, {}\n",
             tree_signature(bench.config, *bench.task, *bench.verifier, *bench.engine, options.trees), options.trees,
             bench.config.run.seed, bench.engine->description());
  return kExitOk;
}

void add_common(CLI::App* command, const std::shared_ptr<Options>& options) {
  command->add_option("config", options->config_path, "TOML file; without it, defaults");
  command->add_option("--set", options->overrides, "Override a key")->allow_extra_args(false);
  command->add_option("--model", options->model, "Model folder; without it, [model].path or fresh weights");
}

}  // namespace

void add_bench(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* bench = app.add_subcommand("bench", "Measure, always against a baseline in the same run");
  bench->require_subcommand(1);
  CLI::App* search = bench->add_subcommand("search", "Tokens per first solution: tree against independent rollouts");
  add_common(search, options);
  search->add_option("--sizes", options->sizes, "Problem sizes k")->delimiter(',');
  search->add_option("--problems", options->problems, "Held-out problems of each size")->check(CLI::Range(1, 100000));
  search->add_option("--max-tokens", options->max_tokens, "Tokens after which a problem is given up")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  search->callback([options, &line] { line.chosen = [options] { return bench_search_command(*options); }; });
  CLI::App* signature = bench->add_subcommand("signature", "A hash of a fixed small search: equal hashes, equal bits");
  add_common(signature, options);
  signature->add_option("--trees", options->trees, "Trees to grow")->check(CLI::Range(1, 10000));
  add_tree_bench(*bench, line);
  add_engine_benches(*bench, line);
  add_learn_bench(*bench, line);
  add_verify_bench(*bench, line);
  add_message_bench(*bench, line);
  add_store_bench(*bench, line);
  signature->callback([options, &line] { line.chosen = [options] { return bench_signature_command(*options); }; });
}

}  // namespace deepsearch
