#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "core/progress.h"
#include "data/json_lines.h"
#include "run/config.h"
#include "run/policy.h"

namespace deepsearch {

namespace {

struct Options {
  std::string config_path;
  std::vector<std::string> overrides;
  std::filesystem::path model;
  std::filesystem::path tokens;
  std::filesystem::path out;
};

constexpr size_t kTextsAtOnce = 256;

int run_score(const Options& options) {
  const Config config = read_config(options.config_path, options.overrides, ReadFor::kSampling);
  const Policy policy = open_policy(options.model, config.engine, /*seed=*/1);
  JsonLinesReader in(options.tokens);
  JsonLinesWriter out(options.out);
  Progress progress("scoring", 0, /*enabled=*/options.out != "-");
  int64_t texts = 0;
  int64_t tokens = 0;
  for (bool more = true; more;) {
    std::vector<std::vector<Token>> batch;
    for (nlohmann::json line; batch.size() < kTextsAtOnce && (more = in.next(line));) {
      batch.push_back(json_tokens(line, "tokens", in.place()));
      try {
        policy.engine->check_text(batch.back());
      } catch (const Error& error) {
        throw error.within(in.place());
      }
    }
    for (const Scores& scores : policy.engine->score(batch)) {
      out.write({{"logprobs", scores.logprobs}, {"entropies", scores.entropies}});
      tokens += static_cast<int64_t>(scores.logprobs.size());
    }
    texts += static_cast<int64_t>(batch.size());
    progress.update(texts, fmt::format("{} tokens", tokens));
  }
  progress.finish();
  out.finish();
  fmt::print(stderr, "{} texts, {} tokens scored by {}\n", texts, tokens, policy.engine->description());
  return kExitOk;
}

}  // namespace

void add_score(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("score", "Log-probs and entropies of given tokens under a model folder");
  command->add_option("--model", options->model, "Model folder (Hugging Face layout); needs no tokenizer")->required();
  command->add_option("--tokens", options->tokens, "JSONL, a line {\"tokens\": [ids]}; \"-\": stdin")->required();
  command
      ->add_option(
          "--out", options->out,
          "JSONL, a line {\"logprobs\": […], \"entropies\": […]}: one value a token but the first; \"-\": stdout")
      ->required();
  command->add_option("--config", options->config_path, "TOML file whose [engine] is used");
  command->add_option("--set", options->overrides, "Override a key, e.g. --set engine.threads=4")
      ->allow_extra_args(false);
  command->callback([options, &line] { line.chosen = [options] { return run_score(*options); }; });
}

}  // namespace deepsearch
