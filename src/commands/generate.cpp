#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "core/progress.h"
#include "core/rng.h"
#include "core/timer.h"
#include "data/json_lines.h"
#include "run/config.h"
#include "run/generation.h"
#include "run/policy.h"
#include "run/prompt_encoder.h"

namespace deepsearch {

namespace {

struct Options {
  std::string config_path;
  std::vector<std::string> overrides;
  std::filesystem::path model;
  std::string prompt;
  std::filesystem::path prompts;
  std::filesystem::path out;
  std::string chat_template = "none";
  std::string system;
  bool no_thinking = false;
  int32_t samples = 1;
  int32_t max_tokens = 512;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int64_t> top_k;
  std::vector<std::string> stop;
  int64_t seed = 1;
};

struct Prompt {
  nlohmann::json id;  // as given; the line's number otherwise
  std::vector<Token> tokens;
};

Prompt prompt_of_line(const PromptEncoder& encoder, const nlohmann::json& line, const std::string& place) {
  Prompt prompt;
  if (line.contains("tokens")) {
    prompt.tokens = json_tokens(line, "tokens", place);
  } else if (line.contains("messages")) {
    prompt.tokens = encoder.from_messages(json_messages(line.at("messages"), place), place);
  } else if (line.contains("prompt")) {
    prompt.tokens = encoder.from_text(json_text(line, "prompt", place), place);
  } else {
    bad_input("{}: a line holds \"prompt\" (text), \"messages\" (role and content each) or \"tokens\" (ids)", place);
  }
  if (const auto id = line.find("id"); id != line.end()) prompt.id = *id;
  if (prompt.tokens.empty()) bad_input("{}: a prompt without a single token", place);
  return prompt;
}

nlohmann::ordered_json result_line(const Policy& policy, const Prompt& prompt, int32_t sample, const Step& step) {
  nlohmann::ordered_json line;
  line["id"] = prompt.id;
  line["sample"] = sample;
  line["prompt_tokens"] = prompt.tokens.size();
  if (policy.tokenizer) line["text"] = policy.tokenizer->decode(step.tokens, /*skip_special_tokens=*/true);
  line["finish"] = step.finish == Finish::kEos ? "eos" : step.finish == Finish::kStop ? "stop" : "length";
  line["tokens"] = step.tokens;
  line["logprobs"] = step.logprobs;
  line["entropies"] = step.entropies;
  return line;
}

GenerationRequest request_of(const Options& options, const Policy& policy, const Prompt& prompt, int64_t index) {
  const int64_t room = policy.config().max_positions - static_cast<int64_t>(prompt.tokens.size()) + 1;
  if (room < 1) {
    bad_input("prompt {}: {} tokens, and the model's context is {}", prompt.id.dump(), prompt.tokens.size(),
              policy.config().max_positions);
  }
  for (const Token token : prompt.tokens) {
    if (token < 0 || token >= policy.config().vocab_size) {
      bad_input("prompt {}: token {}, and the model's vocabulary is 0 to {}", prompt.id.dump(), token,
                policy.config().vocab_size - 1);
    }
  }
  return {.prompt = prompt.tokens,
          .samples = options.samples,
          .max_tokens = static_cast<int32_t>(std::min<int64_t>(options.max_tokens, room)),
          .temperature = static_cast<float>(options.temperature.value_or(policy.defaults.temperature.value_or(1.0))),
          .top_p = static_cast<float>(options.top_p.value_or(policy.defaults.top_p.value_or(1.0))),
          .key = mix_all(hash_text("generate"), index)};
}

// One prompt from the command line, shown as it comes.
int show(const Options& options, const Policy& policy, const Prompt& prompt) {
  Generation generation(*policy.engine, /*step_tokens=*/8);
  const bool stream = options.samples == 1 && policy.tokenizer;
  std::optional<StreamDecoder> decoder;
  if (stream) decoder.emplace(*policy.tokenizer, /*skip_special_tokens=*/true);
  generation.listen([&](int64_t, int32_t, const Step& piece) {
    if (!stream) return;
    for (const Token token : piece.tokens) fmt::print("{}", decoder->append(token));
    std::fflush(stdout);
  });
  const Stopwatch watch;
  generation.add(request_of(options, policy, prompt, 0));
  Generated generated;
  while (!generation.take_next(generated)) generation.pump();
  if (stream) fmt::print("{}\n", decoder->flush());
  for (int32_t i = 0; !stream && i < options.samples; ++i) {
    fmt::print("{}\n", result_line(policy, prompt, i, generated.samples[static_cast<size_t>(i)])
                           .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  fmt::print(stderr, "{} tokens in {} ({:.0f} a second), {} prompt tokens\n", generation.tokens(),
             format_duration(watch.seconds()), static_cast<double>(generation.tokens()) / watch.seconds(),
             prompt.tokens.size());
  return kExitOk;
}

int to_file(const Options& options, const Policy& policy, const PromptEncoder& encoder) {
  JsonLinesReader in(options.prompts);
  std::vector<Prompt> prompts;
  for (nlohmann::json line; in.next(line);) {
    prompts.push_back(prompt_of_line(encoder, line, in.place()));
    if (prompts.back().id.is_null()) prompts.back().id = prompts.size() - 1;
    request_of(options, policy, prompts.back(), 0);  // refused now, not after an hour
  }
  JsonLinesWriter out(options.out);
  Generation generation(*policy.engine);
  const int64_t at_once = std::max<int64_t>(1, 2 * options.samples < 512 ? 1024 / options.samples : 2);
  Progress progress("generating", static_cast<int64_t>(prompts.size()), /*enabled=*/options.out != "-");
  const Stopwatch watch;
  size_t added = 0;
  for (size_t written = 0; written < prompts.size();) {
    for (; added < prompts.size() && generation.in_flight() < at_once; ++added) {
      generation.add(request_of(options, policy, prompts[added], static_cast<int64_t>(added)));
    }
    generation.pump();
    for (Generated generated; generation.take_next(generated); ++written) {
      for (int32_t i = 0; i < options.samples; ++i) {
        out.write(result_line(policy, prompts[written], i, generated.samples[static_cast<size_t>(i)]));
      }
    }
    progress.update(static_cast<int64_t>(written),
                    fmt::format("{:.0f} tokens/s", static_cast<double>(generation.tokens()) / watch.seconds()));
  }
  progress.finish();
  out.finish();
  const EngineCounters& counters = policy.engine->counters();
  fmt::print(stderr, "{} prompts, {} tokens in {} ({:.0f} a second); {} prompt tokens computed; KV at most {}{}\n",
             prompts.size(), generation.tokens(), format_duration(watch.seconds()),
             static_cast<double>(generation.tokens()) / watch.seconds(), counters.tokens_prefilled,
             format_bytes(static_cast<uint64_t>(counters.kv_bytes_peak)),
             counters.nodes_evicted + counters.sequences_preempted > 0
                 ? fmt::format(" (full: {} nodes evicted, {} sequences preempted, {} tokens computed again)",
                               counters.nodes_evicted, counters.sequences_preempted, counters.tokens_recomputed)
                 : std::string());
  return kExitOk;
}

int run_generate(const Options& options) {
  if (options.prompt.empty() == options.prompts.empty()) {
    bad_input("generate: give either --prompt TEXT or --prompts FILE");
  }
  if (options.prompts.empty() && options.out != "-") {
    bad_input("generate: --out goes with --prompts FILE; what continues --prompt is shown, not written");
  }
  Config config = read_config(options.config_path, options.overrides, ReadFor::kSampling);
  config.engine.stop.insert(config.engine.stop.end(), options.stop.begin(), options.stop.end());
  if (options.top_k) config.engine.top_k = *options.top_k;
  const Policy policy = open_policy(options.model, config.engine, static_cast<uint64_t>(options.seed));
  fmt::print(stderr, "{}\n", policy.engine->description());
  const PromptEncoder encoder(
      options.model, policy.tokenizer,
      {.chat_template = options.chat_template, .system = options.system, .thinking = !options.no_thinking});
  if (!options.prompts.empty()) return to_file(options, policy, encoder);
  return show(options, policy, {.id = {}, .tokens = encoder.from_text(options.prompt, "--prompt")});
}

}  // namespace

void add_generate(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("generate", "Continue prompts with a model folder, to the terminal or JSONL");
  command->add_option("--model", options->model, "Model folder (Hugging Face layout)")->required();
  command->add_option("--prompt", options->prompt, "One prompt; its continuation is shown as it comes");
  command->add_option(
      "--prompts", options->prompts,
      "JSONL, a line {\"prompt\": text}, {\"messages\": [{role, content}]} or {\"tokens\": [ids]}; \"-\": stdin");
  command->add_option("--out", options->out, "JSONL to write; \"-\" or nothing: stdout")->default_val("-");
  command->add_option("--chat-template", options->chat_template,
                      "none (text as it is), auto (the model folder's own), or one of " + known_chat_templates());
  command->add_flag("--no-thinking", options->no_thinking, "qwen3: ask for an answer without a <think> part");
  command->add_option("--system", options->system, "System message before --prompt texts, with a chat template");
  command->add_option("-n,--samples", options->samples, "Continuations of each prompt")->check(CLI::Range(1, 65536));
  command->add_option("--max-tokens", options->max_tokens, "Tokens of a continuation at most")
      ->check(CLI::Range(1, 1 << 24));
  command->add_option("--temperature", options->temperature, "0: greedy; default: the model's own, else 1")
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--top-p", options->top_p, "Default: the model's own, else 1")->check(CLI::Range(0.0, 1.0));
  command->add_option("--top-k", options->top_k, "0: no limit")->check(CLI::Range(0, 1 << 24));
  command->add_option("--stop", options->stop, "Text that ends a continuation; may be given several times")
      ->allow_extra_args(false);
  command->add_option("--seed", options->seed, "Same seed, same continuations");
  command->add_option("--config", options->config_path, "TOML file whose [engine] is used");
  command->add_option("--set", options->overrides, "Override a key, e.g. --set engine.weights=int8")
      ->allow_extra_args(false);
  command->callback([options, &line] { line.chosen = [options] { return run_generate(*options); }; });
}

}  // namespace deepsearch
