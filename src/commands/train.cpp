#include "run/train.h"

#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>

#include "comm/world.h"
#include "commands/commands.h"
#include "core/error.h"
#include "run/setup.h"
#include "sweep/sweep.h"

namespace deepsearch {

std::string CommandLine::text() const {
  std::string joined;
  for (const std::string& argument : arguments) joined += (joined.empty() ? "" : " ") + argument;
  return joined;
}

namespace {

// Point `index` of a sweep is an ordinary run: its configuration, its overrides, a folder named after it.
void take_point(TrainRequest& request, const std::string& sweep_path, int64_t index) {
  if (!request.config_path.empty()) bad_input("--sweep names the configuration: give no other");
  const Sweep sweep = read_sweep(sweep_path);
  if (index < 0) bad_input("{}: give --point, one of 0 to {}", sweep_path, sweep.points.size() - 1);
  if (index >= static_cast<int64_t>(sweep.points.size())) {
    bad_input("{}: it has the points 0 to {}, not {}", sweep_path, sweep.points.size() - 1, index);
  }
  const SweepPoint& point = sweep.points[static_cast<size_t>(index)];
  request.config_path = point.config;
  request.overrides.insert(request.overrides.begin(), point.overrides.begin(), point.overrides.end());
  if (request.run_folder.empty()) request.run_folder = std::filesystem::path("runs") / sweep.name / point.name;
}

struct PointChoice {
  std::string sweep;
  int64_t index = -1;
};

}  // namespace

void add_train(CLI::App& app, CommandLine& line) {
  auto request = std::make_shared<TrainRequest>();
  auto point = std::make_shared<PointChoice>();
  CLI::App* command = app.add_subcommand("train", "Train a policy by DeepSearch; start it with mpirun or srun");
  command->add_option("config", request->config_path, "TOML file; without it, defaults");
  command->add_option("--run", request->run_folder,
                      "Folder the run is written to; with --sweep by default runs/SWEEP/POINT");
  command->add_option("--set", request->overrides, "Override a key, e.g. --set search.width=4")
      ->allow_extra_args(false);
  command->add_flag("--force", request->force, "Replace an earlier run in that folder");
  command->add_flag("--resume", request->resume,
                    "Go on with the run in that folder from its newest checkpoint; begin where there is none");
  command->add_option("--logs", request->log_folder, "Folder of the ranks' logs; default: log/ of the run");
  CLI::Option* sweep =
      command->add_option("--sweep", point->sweep, "A sweep file instead of a config: one point of it");
  command->add_option("--point", point->index, "Which one, from 0: `deepsearch sweep plan` lists them")->needs(sweep);
  command->callback([request, point, &line] {
    line.chosen = [request, point, &line] {
      if (!point->sweep.empty()) take_point(*request, point->sweep, point->index);
      if (request->run_folder.empty()) bad_input("--run is missing: the folder the run is written to");
      World world(line.argc, line.argv);
      request->command_line = line.text();
      return run_ranks(world, request->phase, [&] { return run_train(world, *request); });
    };
  });
}

}  // namespace deepsearch
