#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands/commands.h"
#include "core/config.h"
#include "core/error.h"
#include "core/files.h"
#include "core/progress.h"
#include "core/timer.h"
#include "simulate/cluster_simulation.h"
#include "simulate/report.h"

namespace deepsearch {

namespace {

struct Options {
  std::string path;
  std::vector<std::string> overrides;
  std::string json;
  bool explain = false;
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
  number("GB sent, a step", &ClusterFigures::gigabytes);
}

int simulate_command(const Options& options) {
  if (options.explain) {
    ClusterParams defaults;
    fmt::print("{}", explain_config([&](ConfigVisitor& v) { defaults.describe(v); }));
    return kExitOk;
  }
  const ClusterParams params = read_cluster(options.path, options.overrides);
  const Stopwatch watch;
  const std::vector<IdealStep> ideal = ideal_steps(params);
  std::vector<Column> columns;
  for (const bool share : {true, false}) {
    const ClusterTrace trace = ClusterSimulation(params, share).run();
    columns.push_back({share ? "sharing" : "no sharing", figures_of(params, trace, ideal)});
  }
  const IdealStep& first = ideal.front();
  fmt::print(
      "{} search ranks, {} steps of {} problems; first step: {} tokens, {:.4g} s of work a rank, longest tree "
      "alone {:.4g} s, mean {:.4g} s\n\n",
      params.cluster.search_ranks, params.cluster.steps, params.cluster.problems,
      format_count(std::llround(first.sequence_tokens)), first.work_seconds, first.longest_seconds,
      first.mean_tree_seconds);
  print_table(columns);
  fmt::print("\nsimulated in {:.1f} s\n", watch.seconds());
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
  command->callback([options, &line] { line.chosen = [options] { return simulate_command(*options); }; });
}

}  // namespace deepsearch
