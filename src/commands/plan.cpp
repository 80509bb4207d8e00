#include "measure/plan.h"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands/commands.h"
#include "commands/plan_input.h"
#include "core/error.h"
#include "core/files.h"
#include "core/progress.h"
#include "core/words.h"
#include "model/weights.h"
#include "run/config.h"

namespace deepsearch {

namespace {

struct Options : PlanRequest {
  std::string config_path;
  std::vector<std::string> overrides;
  std::string json;
};

std::string gigabytes(double bytes) {
  return std::abs(bytes) >= 1e8 ? fmt::format("{:.2f} GB", bytes / 1e9) : fmt::format("{:.1f} MB", bytes / 1e6);
}

std::string seconds_text(double seconds) {
  return seconds < 0.1 ? fmt::format("{:.1f} ms", 1e3 * seconds) : format_duration(seconds);
}

void print_terms(const char* role, int64_t ranks, const RankMemory& memory) {
  if (ranks == 0) return;
  fmt::print("  {} rank{}\n", role, ranks > 1 ? fmt::format(", {} of them, each", ranks) : "");
  for (const MemoryTerm& term : memory.terms) {
    fmt::print("    {:<36} {:>12}   {}\n", term.name, gigabytes(term.bytes), term.from);
  }
}

void print_memory(const PlanInput& input, const std::vector<DeviceMemory>& devices) {
  for (const DeviceMemory& device : devices) {
    fmt::print("memory of a {}\n", input.hardware.gpu ? "GPU" : "host");
    print_terms("learner", device.learner_ranks, device.learner);
    print_terms("search", device.search_ranks, device.search);
    fmt::print("    {:<36} {:>12}   of {}, {} left\n\n", "together", gigabytes(device.used),
               gigabytes(device.available), gigabytes(device.left()));
  }
}

double device_hours(const PlanInput& input, const StepTime& time) {
  return time.seconds() * static_cast<double>(input.learn.steps * input.devices) / 3600;
}

void print_time(const PlanInput& input, const StepTime& time) {
  fmt::print("a step of {}, {} trajectories each\n", counted(input.learn.problems, "problem"), input.work.trajectories);
  const auto line = [&time](const char* what, double seconds, const std::string& how) {
    fmt::print("    {:<18} {:>12} {:>5.1f} %   {}\n", what, seconds_text(seconds), 100 * seconds / time.seconds(), how);
  };
  line("generation", time.generation,
       fmt::format("{} tokens at {} a second; {:.0f} sequences a pass of {:.2f} ms",
                   format_count(std::llround(time.generated_tokens)),
                   format_count(std::llround(time.generated_per_second)), time.batch, 1e3 * time.pass_seconds));
  line("learning", time.learning,
       fmt::format("{} tokens computed of {} in rows, {:.3g} FLOP, {} updates",
                   format_count(std::llround(time.computed_tokens)), format_count(std::llround(time.row_tokens)),
                   time.learn_flops, time.updates));
  line("optimiser", time.optimizer, "");
  line("gradient sync", time.gradient_sync, "beyond what the backward pass hides");
  line("weight broadcast", time.broadcast, "");
  fmt::print("    {:<18} {:>12}\n", "together", seconds_text(time.seconds()));
  fmt::print("{} steps: {}, {:.4g} {}-hours\n", input.learn.steps,
             format_duration(time.seconds() * static_cast<double>(input.learn.steps)), device_hours(input, time),
             input.hardware.gpu ? "GPU" : "host");
}

nlohmann::ordered_json json_of(const RankMemory& memory) {
  nlohmann::ordered_json terms = nlohmann::ordered_json::object();
  for (const MemoryTerm& term : memory.terms) terms[term.name] = std::llround(term.bytes);
  return {{"bytes", std::llround(memory.bytes())}, {"terms", terms}};
}

nlohmann::ordered_json json_of(const PlanInput& input, const std::vector<DeviceMemory>& devices, const StepTime& time,
                               const std::string& problem) {
  nlohmann::ordered_json memory = nlohmann::ordered_json::array();
  for (const DeviceMemory& device : devices) {
    nlohmann::ordered_json entry = {{"available", std::llround(device.available)}, {"used", std::llround(device.used)}};
    if (device.learner_ranks > 0) entry["learner"] = json_of(device.learner);
    if (device.search_ranks > 0) entry["search"] = json_of(device.search);
    entry["learner_ranks"] = device.learner_ranks;
    entry["search_ranks"] = device.search_ranks;
    memory.push_back(entry);
  }
  return {{"parameters", parameter_count(input.model)},
          {"hardware", input.hardware.name},
          {"devices", input.devices},
          {"search_ranks", input.search_ranks},
          {"learners", input.learners},
          {"fits", problem.empty()},
          {"problem", problem},
          {"memory", memory},
          {"step",
           {{"seconds", time.seconds()},
            {"generation", time.generation},
            {"learning", time.learning},
            {"optimizer", time.optimizer},
            {"gradient_sync", time.gradient_sync},
            {"broadcast", time.broadcast},
            {"batch", time.batch},
            {"pass_seconds", time.pass_seconds},
            {"generated_tokens", time.generated_tokens},
            {"computed_tokens", time.computed_tokens},
            {"row_tokens", time.row_tokens},
            {"learn_flops", time.learn_flops},
            {"updates", time.updates}}},
          {"device_hours", device_hours(input, time)}};
}

int plan_command(const Options& options) {
  const Config config = read_config(options.config_path, options.overrides);
  const PlanInput input = plan_input(options, config);
  const std::vector<DeviceMemory> devices = device_memory(input);
  const StepTime time = step_time(input);
  const std::string problem = what_does_not_fit(input);
  if (options.json != "-") {
    const ModelConfig& model = input.model;
    fmt::print("{}, {} parameters, {} layers of {}; {} on {} {}\n\n", family_name(model.family),
               format_count(parameter_count(model)), model.n_layers, model.hidden_size,
               input.one_rank ? "one rank that searches and learns"
                              : fmt::format("{} search and {} learner ranks", input.search_ranks, input.learners),
               input.devices, input.hardware.name);
    print_memory(input, devices);
    print_time(input, time);
  }
  if (!options.json.empty()) {
    const std::string text = json_of(input, devices, time, problem).dump(2) + "\n";
    if (options.json == "-") {
      std::fputs(text.c_str(), stdout);
    } else {
      write_file_atomically(options.json, text);
    }
  }
  if (!problem.empty()) {
    std::fflush(stdout);
    bad_input("{}", problem);
  }
  return kExitOk;
}

}  // namespace

void add_plan(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("plan", "What a run will take: memory by rank, time by part of a step");
  command->add_option("config", options->config_path, "TOML file; without it, defaults");
  command->add_option("--set", options->overrides, "Override a key")->allow_extra_args(false);
  command
      ->add_option("--ranks", options->ranks, "Ranks of the job, [ranks].learners of them learners; 1: one does both")
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--devices", options->devices, "GPUs, or hosts without; default: a GPU a rank, or one host")
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--hardware", options->hardware,
                      "h100, h200, a100, cpu (this machine, measured now), or a FILE.toml with [hardware]");
  command->add_option("--hardware-set", options->hardware_keys, "Override a key of it, e.g. bandwidth_gbs=2000")
      ->allow_extra_args(false);
  command->add_option("--shape", options->shape, "A known model's shape, e.g. qwen2-1.5b, in place of [model]");
  command->add_option("--prompt-tokens", options->prompt_tokens, "Of a problem; default: the task's most")
      ->check(CLI::Range(1.0, 1e9));
  command
      ->add_option("--response-tokens", options->response_tokens,
                   "Of the mean trajectory; default: half of max_depth steps")
      ->check(CLI::Range(1.0, 1e9));
  command
      ->add_option("--generated-tokens", options->generated_tokens,
                   "Sampled for a problem, recorded or not; default: estimated from [search]")
      ->check(CLI::Range(1.0, 1e9));
  command
      ->add_option("--new-share", options->new_share,
                   "Of its response that each further trajectory of a tree does not share with earlier ones")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--json", options->json, "File to write the figures to; \"-\": stdout, and no tables");
  command->callback([options, &line] { line.chosen = [options] { return plan_command(*options); }; });
}

}  // namespace deepsearch
