#include "run/train.h"

#include <memory>

#include <CLI/CLI.hpp>

#include "comm/world.h"
#include "commands/commands.h"
#include "core/error.h"
#include "run/setup.h"

namespace deepsearch {

std::string CommandLine::text() const {
  std::string joined;
  for (const std::string& argument : arguments) joined += (joined.empty() ? "" : " ") + argument;
  return joined;
}

void add_train(CLI::App& app, CommandLine& line) {
  auto request = std::make_shared<TrainRequest>();
  CLI::App* command = app.add_subcommand("train", "Train a policy by DeepSearch; start it with mpirun or srun");
  command->add_option("config", request->config_path, "TOML file; without it, defaults");
  command->add_option("--run", request->run_folder, "Folder the run is written to")->required();
  command->add_option("--set", request->overrides, "Override a key, e.g. --set search.width=4")
      ->allow_extra_args(false);
  command->add_flag("--force", request->force, "Replace an earlier run in that folder");
  command->add_flag("--resume", request->resume,
                    "Go on with the run in that folder from its newest checkpoint; begin where there is none");
  command->callback([request, &line] {
    line.chosen = [request, &line] {
      World world(line.argc, line.argv);
      request->command_line = line.text();
      try {
        return run_train(world, *request);
      } catch (const AgreedError& error) {
        // Every rank knows of it: one speaks, all leave by the ordinary door.
        throw Error(world.rank() == 0 ? error.what() : "", error.exit_code());
      } catch (const Error& error) {
        world.abort(request->phase, error.what(), error.exit_code());
      } catch (const std::exception& error) {
        world.abort(request->phase, error.what(), kExitFailure);
      }
    };
  });
}

}  // namespace deepsearch
