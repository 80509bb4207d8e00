#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>

#include "comm/collectives.h"
#include "comm/world.h"
#include "commands/commands.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/signals.h"
#include "learn/warm_start.h"
#include "run/config.h"
#include "run/setup.h"

namespace deepsearch {

namespace {

struct Options {
  std::string config_path;
  std::vector<std::string> overrides;
  std::filesystem::path out;
  bool force = false;
};

// Makes the base policy on one process; its threads are [learn].threads.
int run_sft(World& world, const Options& options) {
  if (world.size() > 1) bad_input("sft runs on one rank, this job has {}: start it without mpirun", world.size());
  const Config config = read_config(options.config_path, options.overrides);
  if (!options.force && std::filesystem::exists(options.out / "config.json")) {
    bad_input("{} holds a model already; give another --out, or --force to replace it", options.out.string());
  }
  world.assign_roles(config.ranks);
  install_stop_signals();
  start_log("sft", log_level_of(config.run), /*to_terminal=*/true);
  const std::unique_ptr<Task> task = make_task(config.task);
  const ModelWeights start = start_weights(config, *task);
  const auto collectives = make_learner_collectives(world, transport_of(config.ranks));
  log_info("warm start on {}: {}, {} updates of {} demonstrations", config.task.name, describe_model(start),
           config.sft.steps, config.sft.batch);
  Progress progress("warm start", config.sft.steps, /*enabled=*/true);
  const ModelWeights trained = warm_start(
      start, config.task, config.sft, config.learn.tokens_per_microbatch, learner_threads(config.learn, world),
      *collectives,
      [&](const WarmStartProgress& now) { progress.update(now.step, fmt::format("loss {:.4f}", now.loss)); });
  progress.finish();
  if (stop_requested()) {
    log_warning("stopped by signal {}; nothing was written", stop_signal());
    return 128 + stop_signal();
  }
  save_policy(options.out, trained, *task);
  log_info("saved {}", options.out.string());
  return kExitOk;
}

}  // namespace

void add_sft(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("sft", "Supervised warm start: make a base policy from generated demonstrations");
  command->add_option("config", options->config_path, "TOML file; without it, defaults");
  command->add_option("--out", options->out, "Model folder to write, in the Hugging Face layout")->required();
  command->add_option("--set", options->overrides, "Override a key, e.g. --set sft.steps=500")->allow_extra_args(false);
  command->add_flag("--force", options->force, "Replace a model in that folder");
  command->callback([options, &line] {
    line.chosen = [options, &line] {
      World world(line.argc, line.argv);
      return run_sft(world, *options);
    };
  });
}

}  // namespace deepsearch
