#include "evaluate/evaluate.h"

#include <memory>

#include <CLI/CLI.hpp>

#include "comm/world.h"
#include "commands/commands.h"
#include "core/error.h"
#include "run/setup.h"

namespace deepsearch {

void add_evaluate(CLI::App& app, CommandLine& line) {
  auto request = std::make_shared<EvaluateRequest>();
  CLI::App* command =
      app.add_subcommand("evaluate", "Answer benchmarks with a policy and score it; start it with mpirun or srun");
  command->add_option("config", request->config_path,
                      "TOML file with [evaluate]; without it, the configuration of --checkpoint's run, or defaults");
  command->add_option("--run", request->run_folder, "Folder the evaluation is written to")->required();
  command->add_option("--model", request->model, "Model folder (Hugging Face layout), as [model].path");
  command->add_option("--checkpoint", request->checkpoint,
                      "Or a run of `deepsearch train`: its newest checkpoint; or one checkpoint's folder");
  command->add_option("--benchmarks", request->benchmarks, "Folder of the problem files, as [evaluate].folder");
  command->add_option("--set", request->overrides, "Override a key, e.g. --set evaluate.samples=8")
      ->allow_extra_args(false);
  command->add_flag("--force", request->force, "Replace an earlier run in that folder");
  command->add_flag("--resume", request->resume,
                    "Go on with the evaluation in that folder: problems that are answered are read back");
  command->add_option("--logs", request->log_folder, "Folder of the ranks' logs; default: log/ of the run");
  command->callback([request, &line] {
    line.chosen = [request, &line] {
      World world(line.argc, line.argv);
      request->command_line = line.text();
      return run_ranks(world, request->phase, [&] { return run_evaluate(world, *request); });
    };
  });
}

}  // namespace deepsearch
