#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "data/problem_file.h"
#include "run/config.h"

namespace deepsearch {

namespace {

struct Options {
  std::string config_path;
  std::vector<std::string> overrides;
  std::string split = "test";
  int64_t count = 100;
  std::filesystem::path out;
};

int run_problems(const Options& options) {
  const Config config = read_config(options.config_path, options.overrides);
  const std::unique_ptr<Task> task = make_task(config.task);
  const Split split = options.split == "train" ? Split::kTrain : Split::kTest;
  std::vector<ProblemRow> rows;
  for (int64_t i = 0; i < options.count; ++i) {
    rows.push_back({});
    rows.back().problem = task->problem(split, static_cast<uint64_t>(i));
  }
  write_problem_file(options.out, rows);
  fmt::print("{} problems of task {} ({} split) in {}\n", rows.size(), config.task.name, options.split,
             options.out.string());
  return kExitOk;
}

}  // namespace

void add_problems(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("problems", "Write problems of an embedded task as JSONL");
  command->add_option("config", options->config_path, "TOML file; without it, defaults");
  command->add_option("--set", options->overrides, "Override a key, e.g. --set task.name=chain")
      ->allow_extra_args(false);
  command->add_option("--split", options->split, "train or test")->check(CLI::IsMember({"train", "test"}));
  command->add_option("--count", options->count, "Problems to write")->check(CLI::Range(1, 10000000));
  command->add_option("--out", options->out, "File to write")->required();
  command->callback([options, &line] { line.chosen = [options] { return run_problems(*options); }; });
}

}  // namespace deepsearch
