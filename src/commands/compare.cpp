// The engine against the learner's network on the same tokens: what importance ratios start from.
#include "measure/compare.h"

#include <cmath>
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "run/config.h"

namespace deepsearch {

namespace {

struct Options {
  std::string config_path;
  std::vector<std::string> overrides;
  std::filesystem::path model;
  std::filesystem::path tokens;
  int64_t texts = 16;
  int64_t length = 128;
  std::vector<std::string> storages = {"fp32", "bf16"};
  int64_t seed = 1;
};

int run_compare(const Options& options) {
  Config config = read_config(options.config_path, options.overrides, ReadFor::kSampling);
  std::vector<std::vector<Token>> texts;
  if (!options.tokens.empty()) texts = read_texts(options.tokens);
  fmt::print("{:<44} {:>8} {:>14} {:>14} {:>14}\n", "engine against the learner's network (fp32)", "tokens",
             "max |d logp|", "mean |d logp|", "mean d logp");
  for (const std::string& storage : options.storages) {
    config.engine.weights = storage;
    const Comparison result = compare_with_learner(options.model, config.engine, texts, options.texts, options.length,
                                                   static_cast<uint64_t>(options.seed));
    fmt::print("{:<44} {:>8} {:>14.2e} {:>14.2e} {:>14.2e}\n", result.engine, result.tokens, result.largest,
               result.mean, result.bias);
  }
  return kExitOk;
}

}  // namespace

void add_compare(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("compare", "Log-probs of the engine against those of the learner's network, token by token");
  command->add_option("--model", options->model, "Model folder (Hugging Face layout)")->required();
  command->add_option("--tokens", options->tokens,
                      "JSONL, a line {\"tokens\": [ids]}; without it the engine samples texts itself");
  command->add_option("--texts", options->texts, "Texts to sample")->check(CLI::Range(1, 100000));
  command->add_option("--length", options->length, "Tokens of each")->check(CLI::Range(2, 1 << 20));
  command->add_option("--dtypes", options->storages, "Weights of the engine: fp32, bf16, fp16, int8")
      ->delimiter(',')
      ->check(CLI::IsMember({"fp32", "bf16", "fp16", "int8"}));
  command->add_option("--seed", options->seed, "Of the sampled texts");
  command->add_option("--config", options->config_path, "TOML file whose other [engine] keys are used");
  command->add_option("--set", options->overrides, "Override a key")->allow_extra_args(false);
  command->callback([options, &line] { line.chosen = [options] { return run_compare(*options); }; });
}

}  // namespace deepsearch
