#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "comm/mailbox.h"
#include "comm/world.h"
#include "commands/commands.h"
#include "core/config.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/signals.h"
#include "core/timer.h"
#include "measure/simulated_run.h"
#include "run/setup.h"
#include "simulate/cluster_simulation.h"
#include "simulate/report.h"

namespace deepsearch {

namespace {

struct Options {
  std::string path;
  std::vector<std::string> overrides;
  std::string json;
  bool explain = false;
  bool real = false;
  bool only_sharing = false;
};

// One column of the table.
struct Column {
  std::string name;
  ClusterFigures figures;
};

void print_table(const std::vector<Column>& columns) {
  const auto line = [&](const char* what, auto&& text) {
    fmt::print("  {:<44}", what);
    for (const Column& column : columns) fmt::print("{:>18}", text(column.figures));
    fmt::print("\n");
  };
  const auto seconds = [&](const char* what, double ClusterFigures::*value) {
    line(what, [&](const ClusterFigures& f) {
      return fmt::format("{:.4g} s {:>5.1f} %", f.*value, 100 * f.*value / f.step_seconds);
    });
  };
  const auto percent = [&](const char* what, double ClusterFigures::*value) {
    line(what, [&](const ClusterFigures& f) { return fmt::format("{:.2f} %", 100 * f.*value); });
  };
  const auto number = [&](const char* what, double ClusterFigures::*value) {
    line(what, [&](const ClusterFigures& f) { return fmt::format("{:.4g}", f.*value); });
  };
  fmt::print("  {:<44}", "");
  for (const Column& column : columns) fmt::print("{:>18}", column.name);
  fmt::print("\n");
  percent("ranks busy until 95 % of the trees", &ClusterFigures::busy_mean);
  percent("  the least busy rank", &ClusterFigures::busy_min);
  percent("ranks busy until the last tree", &ClusterFigures::whole_mean);
  percent("  the least busy rank", &ClusterFigures::whole_min);
  line("search", [](const ClusterFigures& f) { return fmt::format("{:.5g} s", f.search_seconds); });
  number("  in units of the ideal", &ClusterFigures::ratio);
  line("step", [](const ClusterFigures& f) { return fmt::format("{:.5g} s", f.step_seconds); });
  fmt::print("  of which an average rank spends\n");
  seconds("  decoding", &ClusterFigures::decoding);
  seconds("  idle before its first tree", &ClusterFigures::starting);
  seconds("  idle until 95 % of the trees", &ClusterFigures::starved);
  seconds("  idle after that", &ClusterFigures::tail);
  seconds("  waiting for the learner", &ClusterFigures::learning);
  seconds("  waiting for weights", &ClusterFigures::publishing);
  number("sequences decoded together", &ClusterFigures::batch);
  number("sequences waiting for a place", &ClusterFigures::waiting);
  number("tokens a second", &ClusterFigures::tokens_per_second);
  percent("tokens made for other ranks' trees", &ClusterFigures::lent_share);
  percent("prefix tokens sent to helpers, of all tokens", &ClusterFigures::resent_share);
  number("helpers given, a step", &ClusterFigures::leases);
  number("messages a second at the coordinator", &ClusterFigures::messages_per_second);
  percent("  its time at work", &ClusterFigures::coordinator_busy);
  number("messages, a step", &ClusterFigures::messages);
  number("  received", &ClusterFigures::messages_received);
  number("GB sent, a step", &ClusterFigures::gigabytes);
  percent("lost to a busy machine, of the time decoding", &ClusterFigures::late_share);
}

nlohmann::ordered_json json_of(const ClusterFigures& f) {
  return {{"step_seconds", f.step_seconds},
          {"search_seconds", f.search_seconds},
          {"ideal_seconds", f.ideal_seconds},
          {"ratio", f.ratio},
          {"busy_until_95", {{"mean", f.busy_mean}, {"min", f.busy_min}}},
          {"busy_until_last", {{"mean", f.whole_mean}, {"min", f.whole_min}}},
          {"seconds",
           {{"decoding", f.decoding},
            {"starting", f.starting},
            {"starved", f.starved},
            {"tail", f.tail},
            {"learning", f.learning},
            {"publishing", f.publishing}}},
          {"batch", f.batch},
          {"waiting", f.waiting},
          {"tokens_per_second", f.tokens_per_second},
          {"lent_share", f.lent_share},
          {"resent_share", f.resent_share},
          {"leases", f.leases},
          {"coordinator", {{"messages_per_second", f.messages_per_second}, {"busy", f.coordinator_busy}}},
          {"messages", f.messages},
          {"messages_received", f.messages_received},
          {"gigabytes", f.gigabytes},
          {"late_share", f.late_share}};
}

void print(const Options& options, const ClusterParams& params, const std::vector<IdealStep>& ideal,
           const std::vector<Column>& columns, double took) {
  if (!options.json.empty()) {
    nlohmann::ordered_json json = {{"search_ranks", params.cluster.search_ranks},
                                   {"problems", params.cluster.problems},
                                   {"steps", params.cluster.steps},
                                   {"seconds", took}};
    for (const Column& column : columns) json["figures"][column.name] = json_of(column.figures);
    const std::string text = json.dump(2) + "\n";
    if (options.json == "-") {
      std::fputs(text.c_str(), stdout);
      return;
    }
    write_file_atomically(options.json, text);
  }
  const IdealStep& first = ideal.front();
  fmt::print(
      "{} search ranks, {} steps of {} problems; first step: {} tokens, {:.4g} s of work a rank, longest tree alone "
      "{:.4g} s, mean {:.4g} s\n\n",
      params.cluster.search_ranks, params.cluster.steps, params.cluster.problems,
      format_count(std::llround(first.sequence_tokens)), first.work_seconds, first.longest_seconds,
      first.mean_tree_seconds);
  print_table(columns);
  fmt::print("\nin {:.1f} s\n", took);
}

// With and without sharing: simulated, and where `real` gives traces, as real processes.
using RealTrace = std::function<std::optional<ClusterTrace>(bool share)>;
void compare(const Options& options, const ClusterParams& params, bool speaks, const RealTrace& real) {
  const Stopwatch watch;
  std::vector<IdealStep> ideal;
  if (speaks) ideal = ideal_steps(params);
  std::vector<Column> columns;
  std::vector<bool> kinds = {true};
  if (!options.only_sharing) kinds.push_back(false);
  for (const bool share : kinds) {
    const std::string name = share ? "sharing" : "no sharing";
    if (speaks) {
      columns.push_back({name, figures_of(params, ClusterSimulation(params, share).run(), ideal)});
    }
    if (!real) continue;
    const std::optional<ClusterTrace> trace = real(share);
    if (trace) columns.push_back({name + ", real", figures_of(params, *trace, ideal)});
  }
  if (speaks) print(options, params, ideal, columns, watch.seconds());
}

int real_command(const Options& options, CommandLine& line) {
  World world(line.argc, line.argv);
  return run_ranks(world, "simulating", [&] {
    install_stop_signals();
    ClusterParams params;
    agree(world, [&] {
      params = read_cluster(options.path, options.overrides);
      world.assign_roles(ranks_of(params, world.size()));
    });
    start_log(world.who(), LogLevel::kWarning, /*to_terminal=*/true);
    Mailbox mailbox(world);
    compare(options, params, world.is_coordinator(),
            [&](bool share) { return run_simulated(world, mailbox, params, share); });
    return kExitOk;
  });
}

int simulate_command(const Options& options, CommandLine& line) {
  if (options.explain) {
    ClusterParams defaults;
    fmt::print("{}", explain_config([&](ConfigVisitor& v) { defaults.describe(v); }));
    return kExitOk;
  }
  if (options.real) return real_command(options, line);
  compare(options, read_cluster(options.path, options.overrides), /*speaks=*/true, {});
  return kExitOk;
}

}  // namespace

void add_simulate(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("simulate", "Search over many ranks, simulated: how busy they are and why not");
  command->add_option("cluster", options->path, "TOML file of a cluster (configs/clusters); without it, defaults");
  command->add_option("--set", options->overrides, "Override a key, e.g. --set cluster.search_ranks=64")
      ->allow_extra_args(false);
  command->add_option("--json", options->json, "File to write the figures to; \"-\": stdout, and no tables");
  command->add_flag("--explain", options->explain, "Print every key with meaning, unit, range and default");
  command->add_flag("--real", options->real,
                    "And as real processes: start it with mpirun, a process a search rank and one more");
  command->add_flag("--only-sharing", options->only_sharing, "Leave out the columns without sharing");
  command->callback([options, &line] { line.chosen = [options, &line] { return simulate_command(*options, line); }; });
}

}  // namespace deepsearch
