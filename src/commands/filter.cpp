#include <memory>

#include <CLI/CLI.hpp>

#include "comm/world.h"
#include "commands/commands.h"
#include "core/error.h"
#include "run/filtering.h"
#include "run/setup.h"

namespace deepsearch {

void add_filter(CLI::App& app, CommandLine& line) {
  auto request = std::make_shared<FilterRequest>();
  CLI::App* command = app.add_subcommand(
      "filter", "Sample each training problem a few times and keep the hard ones; start it with mpirun or srun");
  command->add_option("config", request->config_path, "TOML file; [rounds] says how; without it, defaults");
  command->add_option("--run", request->folder, "Folder for problems.jsonl and summary.json")->required();
  command->add_flag("--resume", request->resume, "Go on with the filter that was stopped in that folder, if any");
  command->add_option("--logs", request->log_folder, "Folder of the ranks' logs; default: log/ of the folder");
  command->add_option("--model", request->model, "Model folder instead of [model].path, e.g. a run's checkpoint");
  command->add_option("--set", request->overrides, "Override a key, e.g. --set rounds.filter_samples=8")
      ->allow_extra_args(false);
  command->callback([request, &line] {
    line.chosen = [request, &line] {
      World world(line.argc, line.argv);
      return run_ranks(world, request->phase, [&] { return run_filter(world, *request); });
    };
  });
}

}  // namespace deepsearch
