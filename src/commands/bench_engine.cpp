// deepsearch bench decode | prefill | prefix | sampler
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "core/files.h"
#include "core/progress.h"
#include "engine/bench.h"
#include "engine/bench_models.h"
#include "run/config.h"

namespace deepsearch {

namespace {

struct Options {
  std::string config_path;
  std::vector<std::string> overrides;
  std::filesystem::path model;
  std::string shape = "m1";
  std::string device = "auto";
  std::string weights = "auto";
  int64_t threads = 1;
  int64_t repetitions = 3;
  std::vector<int64_t> batches = {1, 8, 64, 256};
  int64_t context = 64;
  int64_t new_tokens = 128;
  std::vector<int64_t> lengths = {64, 512};
  int64_t prefix = 512;
  int64_t children = 64;
  std::vector<int64_t> vocabularies = {64, 32000, 151936};
  double top_p = 1.0;
  std::filesystem::path json;
};

// The model to measure, held for as long as it is measured.
struct Model {
  std::unique_ptr<WeightSource> weights;
  BenchSubject subject;
};

Model model_of(const Options& options) {
  Config config = read_config(options.config_path, options.overrides);
  config.engine.device = options.device;
  config.engine.weights = options.weights;
  config.engine.threads = options.threads;
  Model model;
  if (options.model.empty()) {
    model.weights = std::make_unique<BenchWeights>(bench_shape(options.shape));
  } else {
    model.weights = open_model(options.model);
  }
  model.subject = {.params = config.engine, .weights = model.weights.get(), .repetitions = options.repetitions};
  return model;
}

void print_head(const Options& options, const Model& model, const Roofline& roofline) {
  const ModelConfig& config = model.weights->model_config();
  fmt::print("{}: {} layers of {}, vocabulary {}, {} parameters; {}\n",
             options.model.empty() ? options.shape : options.model.string(), config.n_layers, config.hidden_size,
             config.vocab_size, format_count(parameter_count(config)), describe_engine(model.subject));
  if (roofline.peak_gflops > 0) {
    fmt::print("measured here: {:.1f} GFLOP/s, {:.1f} GB/s ({} thread{})\n", roofline.peak_gflops,
               roofline.bandwidth_gbs, options.threads, options.threads == 1 ? "" : "s");
  } else if (roofline.gpu) {
    fmt::print("measured here: {:.0f} GB/s within the GPU's memory\n", roofline.bandwidth_gbs);
  }
  fmt::print("\n");
}

void write_json(const Options& options, const nlohmann::ordered_json& results) {
  if (!options.json.empty()) write_file_atomically(options.json, results.dump(2) + "\n");
}

int bench_decode_command(const Options& options) {
  const Model model = model_of(options);
  const Roofline roofline = measure_roofline(model.subject.params);
  print_head(options, model, roofline);
  fmt::print("{} tokens of context each, {} new ones; median of {}\n\n", options.context, options.new_tokens,
             options.repetitions);
  fmt::print("{:>6} {:>12} {:>12} {:>12} {:>10} {:>16} {:>10}\n", "batch", "tokens/s", "per CPU s", "with prompts",
             "roofline", "one at a time", "KV");
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  double one_at_a_time = 0;
  if (options.batches.empty() || options.batches.front() != 1) {
    one_at_a_time = bench_decode(model.subject, roofline, 1, options.context, options.new_tokens, 0).tokens_per_second;
  }
  for (const int64_t batch : options.batches) {
    const DecodeResult r =
        bench_decode(model.subject, roofline, batch, options.context, options.new_tokens, one_at_a_time);
    if (batch == 1) one_at_a_time = r.tokens_per_second;
    fmt::print("{:>6} {:>12.0f} {:>12.0f} {:>12.0f} {:>10} {:>15.1f}x {:>10}\n", r.batch, r.tokens_per_second,
               r.tokens_per_cpu_second, r.whole_tokens_per_second,
               r.share_of_roofline > 0 ? fmt::format("{:.0f} %", 100 * r.share_of_roofline) : "unknown",
               r.against_one_at_a_time, format_bytes(static_cast<uint64_t>(r.kv_bytes_peak)));
    results.push_back({{"batch", r.batch},
                       {"tokens_per_second", r.tokens_per_second},
                       {"tokens_per_cpu_second", r.tokens_per_cpu_second},
                       {"whole_tokens_per_second", r.whole_tokens_per_second},
                       {"roofline_tokens_per_second", r.roofline_tokens_per_second},
                       {"share_of_roofline", r.share_of_roofline},
                       {"against_one_at_a_time", r.against_one_at_a_time},
                       {"kv_bytes_peak", r.kv_bytes_peak}});
  }
  write_json(options, results);
  return kExitOk;
}

int bench_prefill_command(const Options& options) {
  const Model model = model_of(options);
  const Roofline roofline = measure_roofline(model.subject.params);
  print_head(options, model, roofline);
  fmt::print("{:>8} {:>12} {:>10} {:>16}\n", "prompt", "tokens/s", "of peak", "token by token");
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const int64_t length : options.lengths) {
    const PrefillResult r = bench_prefill(model.subject, roofline, length);
    fmt::print("{:>8} {:>12.0f} {:>10} {:>15.1f}x\n", r.tokens, r.tokens_per_second,
               r.share_of_peak > 0 ? fmt::format("{:.0f} %", 100 * r.share_of_peak) : "unknown",
               r.against_token_by_token);
    results.push_back({{"tokens", r.tokens},
                       {"tokens_per_second", r.tokens_per_second},
                       {"share_of_peak", r.share_of_peak},
                       {"against_token_by_token", r.against_token_by_token}});
  }
  write_json(options, results);
  return kExitOk;
}

int bench_prefix_command(const Options& options) {
  const Model model = model_of(options);
  print_head(options, model, {});
  const PrefixResult r = bench_prefix(model.subject, options.prefix, options.children, options.new_tokens);
  fmt::print("{} continuations of {} tokens on one prefix of {}:\n  shared   {:.3f} s\n  separate {:.3f} s: {:.1f}x\n",
             r.children, options.new_tokens, options.prefix, r.shared_seconds, r.separate_seconds, r.ratio);
  fmt::print("  KV slots without a token: {:.1f} %\n", 100 * r.kv_wasted);
  write_json(options, {{"children", r.children},
                       {"shared_seconds", r.shared_seconds},
                       {"separate_seconds", r.separate_seconds},
                       {"ratio", r.ratio},
                       {"kv_wasted", r.kv_wasted}});
  return kExitOk;
}

int bench_sampler_command(const Options& options) {
  fmt::print("64 rows, temperature 0.8, top-p {}, one thread\n\n", options.top_p);
  fmt::print("{:>10} {:>12} {:>10} {:>14} {:>14}\n", "vocabulary", "draws/s", "GB/s", "of bandwidth", "plain loops");
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const int64_t vocabulary : options.vocabularies) {
    const SamplerResult r = bench_sampler(vocabulary, options.top_p);
    fmt::print("{:>10} {:>12.0f} {:>10.2f} {:>12.0f} % {:>13.1f}x\n", r.vocab, r.draws_per_second,
               r.gigabytes_per_second, 100 * r.share_of_bandwidth, r.draws_per_second / r.plain_draws_per_second);
    results.push_back({{"vocab", r.vocab},
                       {"draws_per_second", r.draws_per_second},
                       {"plain_draws_per_second", r.plain_draws_per_second},
                       {"gigabytes_per_second", r.gigabytes_per_second}});
  }
  write_json(options, results);
  return kExitOk;
}

void add_model_options(CLI::App* command, const std::shared_ptr<Options>& options) {
  command->add_option("--model", options->model, "Model folder; without it, --shape with meaningless weights");
  command->add_option("--shape", options->shape, "m1, m2, qwen2-0.5b, qwen2-1.5b or llama3-8b");
  command->add_option("--device", options->device, "cpu, cuda or auto")->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  command->add_option("--dtype", options->weights, "How weights are stored: fp32, bf16, fp16, int8 or auto")
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "fp16", "int8"}));
  command->add_option("--threads", options->threads, "CPU threads")->check(CLI::Range(1, 1024));
  command->add_option("--repetitions", options->repetitions, "The median counts")->check(CLI::Range(1, 1000));
  command->add_option("--config", options->config_path, "TOML file whose other [engine] keys are used");
  command->add_option("--set", options->overrides, "Override a key")->allow_extra_args(false);
}

}  // namespace

void add_engine_benches(CLI::App& bench, CommandLine& line) {
  const auto add = [&](const char* name, const char* text, int (*run)(const Options&), auto&& more) {
    auto options = std::make_shared<Options>();
    CLI::App* command = bench.add_subcommand(name, text);
    more(command, options);
    command->add_option("--json", options->json, "Write the figures to this file too");
    command->callback([options, run, &line] { line.chosen = [options, run] { return run(*options); }; });
  };
  add("decode", "Tokens a second by batch size, against one at a time and the roofline", bench_decode_command,
      [](CLI::App* command, const std::shared_ptr<Options>& options) {
        add_model_options(command, options);
        command->add_option("--batches", options->batches, "Sequences decoded together")
            ->delimiter(',')
            ->check(CLI::Range(1, 65536));
        command->add_option("--context", options->context, "Prompt tokens of each")->check(CLI::Range(1, 1 << 24));
        command->add_option("--new-tokens", options->new_tokens, "Decoded by each")->check(CLI::Range(2, 1 << 24));
      });
  add("prefill", "Prompt tokens a second, against token by token and the peak", bench_prefill_command,
      [](CLI::App* command, const std::shared_ptr<Options>& options) {
        add_model_options(command, options);
        command->add_option("--lengths", options->lengths, "Prompt lengths")
            ->delimiter(',')
            ->check(CLI::Range(2, 1 << 24));
      });
  add("prefix", "Continuations of one prefix, with and without sharing its KV", bench_prefix_command,
      [](CLI::App* command, const std::shared_ptr<Options>& options) {
        options->new_tokens = 64;
        add_model_options(command, options);
        command->add_option("--prefix", options->prefix, "Tokens of it")->check(CLI::Range(1, 1 << 24));
        command->add_option("--children", options->children, "Continuations")->check(CLI::Range(1, 65536));
        command->add_option("--new-tokens", options->new_tokens, "Decoded by each")->check(CLI::Range(2, 1 << 24));
      });
  add("sampler", "Draws a second by vocabulary, against plain loops and the memory's bandwidth", bench_sampler_command,
      [](CLI::App* command, const std::shared_ptr<Options>& options) {
        command->add_option("--vocabularies", options->vocabularies, "Sizes")->delimiter(',');
        command->add_option("--top-p", options->top_p, "")->check(CLI::Range(0.0, 1.0));
      });
}

}  // namespace deepsearch
