#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>

#include "comm/world.h"
#include "commands/commands.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/signals.h"
#include "run/config.h"
#include "run/fine_tuning.h"
#include "run/setup.h"
#include "run/warm_starting.h"

namespace deepsearch {

namespace {

struct Options {
  std::string config_path;
  std::vector<std::string> overrides;
  FineTuneRequest request;
  bool no_thinking = false;
  bool force = false;
};

void check_options(const Options& options, const Config& config) {
  const FineTuneRequest& request = options.request;
  if (!options.force && std::filesystem::exists(request.out / "config.json")) {
    bad_input("{} holds a model already; give another --out, or --force to replace it", request.out.string());
  }
  check_folder_can_be_written(request.out);
  if (request.data.empty()) {
    if (!request.validation.empty() || request.validation_share > 0 || !request.metrics.empty() ||
        request.format.chat_template != "none" || !request.format.system.empty() || options.no_thinking) {
      bad_input(
          "--validation, --validation-share, --metrics, --chat-template, --system and --no-thinking are for --data "
          "FILE");
    }
    return;
  }
  if (config.model.path.empty()) bad_input("--data needs the model to start from: give --model DIR");
  if (!request.validation.empty() && request.validation_share > 0) {
    bad_input("give either --validation FILE or --validation-share");
  }
}

int run_sft(World& world, Options& options) {
  Config config;
  agree(world, [&] {
    std::vector<std::string> overrides = options.overrides;
    if (!options.request.model.empty()) overrides.push_back("model.path=\"" + options.request.model.string() + "\"");
    config = read_config(options.config_path, overrides, ReadFor::kSampling);
    check_options(options, config);
  });
  world.assign_learners(config.ranks);
  install_stop_signals();
  start_log(world.size() > 1 ? world.who() : "sft", log_level_of(config.run), /*to_terminal=*/world.rank() == 0);
  if (options.request.data.empty()) return run_warm_start(world, config, options.request.out);
  options.request.model = config.model.path;
  options.request.format.thinking = !options.no_thinking;
  return run_fine_tuning(world, config, options.request);
}

}  // namespace

void add_sft(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  FineTuneRequest& request = options->request;
  CLI::App* command = app.add_subcommand(
      "sft",
      "Supervised training: a base policy from generated demonstrations, or a model on a file's; mpirun shares "
      "the work");
  command->add_option("config", options->config_path, "TOML file; without it, defaults");
  command->add_option("--data", request.data,
                      "JSONL, a line {\"prompt\", \"response\"} (texts), {\"messages\": [{role, content}]} or "
                      "{\"prompt_tokens\", \"response_tokens\"} (ids); without it, the task's demonstrations");
  command->add_option("--model", request.model, "Model folder to start from (Hugging Face layout), as [model].path");
  command->add_option("--validation", request.validation, "JSONL whose loss is measured on the way");
  command->add_option("--validation-share", request.validation_share, "Or this share of --data, held out by the seed")
      ->check(CLI::Range(0.0, 0.9));
  command->add_option("--chat-template", request.format.chat_template,
                      "none (text as it is), auto (the model folder's own), or one of " + known_chat_templates());
  command->add_option("--system", request.format.system, "System message before \"prompt\" texts, with a template");
  command->add_flag("--no-thinking", options->no_thinking, "qwen3: prompts ask for an answer without a <think> part");
  command->add_option("--metrics", request.metrics, "JSONL to write: losses by update");
  command->add_option("--out", request.out, "Model folder to write, in the Hugging Face layout")->required();
  command->add_option("--set", options->overrides, "Override a key, e.g. --set sft.steps=500")->allow_extra_args(false);
  command->add_flag("--force", options->force, "Replace a model in that folder");
  command->callback([options, &line] {
    line.chosen = [options, &line] {
      World world(line.argc, line.argv);
      return run_ranks(world, "sft", [&] { return run_sft(world, *options); });
    };
  });
}

}  // namespace deepsearch
