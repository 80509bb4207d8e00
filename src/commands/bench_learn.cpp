// deepsearch bench learn
#include <algorithm>
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "comm/collectives.h"
#include "comm/world.h"
#include "commands/commands.h"
#include "core/error.h"
#include "core/files.h"
#include "core/progress.h"
#include "core/words.h"
#include "engine/bench_models.h"
#include "engine/engine.h"
#include "measure/learn_bench.h"
#include "run/config.h"
#include "run/setup.h"
#include "verify/task_verifier.h"

namespace deepsearch {

namespace {

struct Options {
  std::string config_path;
  std::vector<std::string> overrides;
  std::string model;
  std::string shape = "m1";
  std::vector<std::string> cases = {"rows", "prefix", "task", "deep", "step"};
  int64_t repetitions = 3;
  int64_t threads = 1;
  int64_t problems = 16;
  int64_t scale = 16;
  int64_t trees = 1;
  std::filesystem::path json;
};

constexpr const char* kCases[] = {"rows", "prefix", "task", "deep", "step"};

struct Bench {
  Options options;
  Config config;
  std::unique_ptr<Collectives> collectives;
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
};

void print_head() {
  fmt::print("{:<34} {:>10} {:>10} {:>9} {:>9} {:>7} {:>11} {:>15} {:>19}\n", "", "packed", "unpacked", "speed-up",
             "allowed", "of it", "tokens/s", "of peak", "peak memory");
}

nlohmann::ordered_json json_of(const PackingFigures& figures) {
  return {{"seconds", figures.seconds},
          {"cpu_seconds", figures.cpu_seconds},
          {"computed_tokens", figures.computed_tokens},
          {"flops", figures.flops},
          {"share_of_peak", figures.share_of_peak},
          {"peak_bytes", figures.peak_bytes}};
}

std::string percent(double share) {
  return share > 0 ? fmt::format("{:.0f} %", 100 * share) : "?";
}

void report(Bench& bench, const std::string& name, const std::string& what, const LearnFigures& f) {
  const double tokens_per_second = static_cast<double>(f.row_tokens) / f.packed.seconds;
  fmt::print("{:<34} {:>8.3f} s {:>8.3f} s {:>8.2f}x {:>8.2f}x {:>7} {:>11.0f} {:>15} {:>19}\n", what, f.packed.seconds,
             f.unpacked.seconds, f.speedup(), f.allowed(), percent(f.speedup() / f.allowed()), tokens_per_second,
             fmt::format("{}, {}", percent(f.packed.share_of_peak), percent(f.unpacked.share_of_peak)),
             fmt::format("{}, {}", format_bytes(static_cast<uint64_t>(f.packed.peak_bytes)),
                         format_bytes(static_cast<uint64_t>(f.unpacked.peak_bytes))));
  bench.results.push_back({{"case", name},
                           {"rows", f.rows},
                           {"row_tokens", f.row_tokens},
                           {"packed", json_of(f.packed)},
                           {"unpacked", json_of(f.unpacked)},
                           {"speedup", f.speedup()},
                           {"allowed", f.allowed()},
                           {"tokens_per_second", tokens_per_second}});
}

ModelWeights weights_of(const Options& options, int64_t positions) {
  ModelConfig shape = bench_shape(options.shape);
  shape.max_positions = std::max(shape.max_positions, positions);
  return fresh_weights(shape, 1);
}

void bench_rows(Bench& bench, const std::string& name, const std::string& what, const std::vector<Row>& rows) {
  int64_t longest = 0;
  for (const Row& row : rows) longest = std::max(longest, static_cast<int64_t>(row.tokens.size()));
  report(bench, name, what,
         measure_learning(weights_of(bench.options, longest), bench.config.learn, *bench.collectives, rows,
                          bench.options.repetitions));
}

// The configuration's own model: its vocabulary is the task's.
void bench_task(Bench& bench) {
  const std::shared_ptr<const Task> task = make_task(bench.config.task);
  const TaskVerifier verifier(task);
  const ModelWeights start = start_weights(bench.config, *task);
  const auto engine = make_engine(bench.config.engine, start.config, static_cast<uint64_t>(bench.config.run.seed), 0);
  engine->set_weights(start, 0);
  const std::vector<Row> rows = task_tree_rows(bench.config, *task, verifier, *engine, bench.options.problems);
  report(bench, "task", fmt::format("trees of {}, {} rows", task->params().name, rows.size()),
         measure_learning(start, bench.config.learn, *bench.collectives, rows, bench.options.repetitions));
}

void bench_step(Bench& bench) {
  const ModelWeights start = weights_of(bench.options, 0);
  const auto engine = make_engine(bench.config.engine, start.config, 1, 0);
  const StepShape shape;
  const StepFigures f =
      measure_step(start, bench.config.learn, *bench.collectives, *engine, shape, bench.options.repetitions);
  fmt::print("GRPO step, {} prompts of {}, {} samples of {} tokens: {:.3f} s (generation {:.3f}, update {:.3f}), {}\n",
             shape.prompts, shape.prompt_tokens, shape.samples, shape.new_tokens, f.seconds, f.generation, f.learning,
             format_bytes(static_cast<uint64_t>(f.peak_bytes)));
  bench.results.push_back({{"case", "step"},
                           {"seconds", f.seconds},
                           {"cpu_seconds", f.cpu_seconds},
                           {"generation", f.generation},
                           {"learning", f.learning},
                           {"peak_bytes", f.peak_bytes}});
}

void run_case(Bench& bench, const std::string& name) {
  const int64_t vocabulary = bench_shape(bench.options.shape).vocab_size;
  if (name == "rows") {
    bench_rows(bench, name, "32 rows of 192", random_rows(32, 192, 1, /*common_prompt=*/false, vocabulary));
  } else if (name == "prefix") {
    bench_rows(bench, name, "8 rows of 192, first half shared",
               random_rows(8, 192, 96, /*common_prompt=*/true, vocabulary));
  } else if (name == "task") {
    bench_task(bench);
  } else if (name == "deep") {
    const TreeShape shape = {.trees = bench.options.trees,
                             .prompt = std::max<int64_t>(1, 1024 / bench.options.scale),
                             .depth = 64,
                             .step_tokens = std::max<int64_t>(1, 256 / bench.options.scale),
                             .recorded = 8};
    bench_rows(bench, name, fmt::format("8 of a tree, 64 steps of {}", shape.step_tokens),
               synthetic_tree_rows(shape, vocabulary));
  } else {
    bench_step(bench);
  }
}

void say_model(const std::string& name, const ModelConfig& shape) {
  fmt::print("{}: {} of {}, vocabulary {}, {} parameters\n", name, counted(shape.n_layers, "layer"), shape.hidden_size,
             shape.vocab_size, format_count(parameter_count(shape)));
}

int bench_learn_command(World& world, const Options& options) {
  if (world.size() > 1) bad_input("bench learn measures one learner: start it without mpirun");
  std::vector<std::string> overrides;
  // Without a file the task is short bags, as the quickstart has them.
  if (options.config_path.empty()) {
    overrides = {"task.sizes=[8]",
                 "search.step_tokens=0",
                 "search.max_depth=0",
                 "search.width=4",
                 "search.illegal=\"prune\"",
                 "learn.overlong=\"none\"",
                 "learn.tokens_per_microbatch=3072"};
  }
  overrides.insert(overrides.end(), options.overrides.begin(), options.overrides.end());
  if (!options.model.empty()) overrides.push_back("model.path=\"" + options.model + "\"");
  Bench bench;
  bench.options = options;
  bench.config = read_config(options.config_path, overrides);
  bench.config.learn.threads = options.threads;
  bench.config.engine.threads = options.threads;
  world.assign_learners(bench.config.ranks);
  bench.collectives = make_learner_collectives(world, transport_of(bench.config.ranks));
  const bool task_only = options.cases == std::vector<std::string>{"task"};
  if (!task_only) say_model(options.shape, bench_shape(options.shape));
  if (std::find(options.cases.begin(), options.cases.end(), "task") != options.cases.end()) {
    say_model("task's", start_weights(bench.config, *make_task(bench.config.task)).config);
  }
  fmt::print("{}, median of {}\n\n", counted(options.threads, "thread"), options.repetitions);
  if (options.cases != std::vector<std::string>{"step"}) print_head();
  for (const std::string& name : options.cases) run_case(bench, name);
  if (!options.json.empty()) write_file_atomically(options.json, bench.results.dump(2) + "\n");
  return kExitOk;
}

}  // namespace

void add_learn_bench(CLI::App& bench, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      bench.add_subcommand("learn", "Training steps: a common prefix computed once, against every row of its own");
  command->add_option("config", options->config_path, "TOML file whose [learn], [engine] and task are used");
  command->add_option("--set", options->overrides, "Override a key")->allow_extra_args(false);
  command->add_option("--model", options->model, "Model folder that grows the task's trees, as [model].path");
  command->add_option("--shape", options->shape, "Model of all but \"task\": m1, m2, qwen2-0.5b, …");
  command
      ->add_option("--cases", options->cases,
                   "rows (32 of 192), prefix (8 of 192, first half shared), task (trees of the task), deep (a tree of "
                   "the published shape, scaled), step (generation and update)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(kCases), std::end(kCases))));
  command->add_option("--repetitions", options->repetitions, "The median counts; one more warms up")
      ->check(CLI::Range(1, 1000));
  command->add_option("--threads", options->threads, "CPU threads")->check(CLI::Range(1, 1024));
  command->add_option("--problems", options->problems, "task: problems whose trees are trained on")
      ->check(CLI::Range(1, 100000));
  command->add_option("--scale", options->scale, "deep: 64 steps of 256 tokens divided by this")
      ->check(CLI::Range(1, 256));
  command->add_option("--trees", options->trees, "deep: trees in the batch")->check(CLI::Range(1, 4096));
  command->add_option("--json", options->json, "File to write the figures to");
  command->callback([options, &line] {
    line.chosen = [options, &line] {
      World world(line.argc, line.argv);
      return bench_learn_command(world, *options);
    };
  });
}

}  // namespace deepsearch
