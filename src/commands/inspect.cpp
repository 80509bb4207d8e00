#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <tuple>

#include <CLI/CLI.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "core/progress.h"
#include "run/config.h"
#include "run/domain.h"
#include "search/text_tree.h"
#include "store/apart.h"
#include "store/check.h"
#include "store/readers.h"
#include "store/run_folder.h"

namespace deepsearch {

namespace {

struct Options {
  std::filesystem::path run;
  std::string tree;  // "part:row", a problem id, "best" or "largest"
  bool list = false;
  int64_t limit = 20;
  bool events = false;
};

struct Place {
  std::filesystem::path part;
  PartReader::TreeRow row;
};

std::vector<Place> all_trees(const RunReader& run) {
  std::vector<Place> places;
  for (const std::filesystem::path& part : run.parts()) {
    for (PartReader::TreeRow& row : PartReader(part).rows()) places.push_back({part, std::move(row)});
  }
  const auto order = [](const Place& place) { return std::tie(place.row.key, place.row.kind); };
  std::stable_sort(places.begin(), places.end(), [&](const Place& a, const Place& b) { return order(a) < order(b); });
  // After a kill, attempts of a resumed run have grown the same trees again.
  const auto repeated =
      std::unique(places.begin(), places.end(), [&](const Place& a, const Place& b) { return order(a) == order(b); });
  places.erase(repeated, places.end());
  return places;
}

std::string name_of(const Place& place) {
  return fmt::format("{}:{}", place.part.stem().string(), place.row.row);
}

double last(const RunReader& run, const std::string& table, const std::string& column) {
  const std::vector<double> values = run.column(table, column);
  return values.empty() ? std::nan("") : values.back();
}

void print_evaluations(const RunReader& run) {
  const auto steps = run.column("eval", "step");
  const auto pass1 = run.column("eval", "pass_at_1");
  const auto passk = run.column("eval", "pass_at_k");
  const auto k = run.column("eval", "k");
  const auto elapsed = run.column("eval", "elapsed");
  if (steps.empty()) return;
  fmt::print("\n{:>6}  {:>10}  {:>8}  {:>8}\n", "step", "elapsed", "Pass@1", fmt::format("Pass@{:.0f}", k.front()));
  for (size_t i = 0; i < steps.size(); ++i) {
    fmt::print("{:>6.0f}  {:>10}  {:>8.3f}  {:>8.3f}{}\n", steps[i], format_duration(elapsed[i]), pass1[i], passk[i],
               i == 0 ? "  base policy" : "");
  }
}

void print_search(const RunReader& run) {
  std::map<std::string, double> sums;
  for (const char* name : {"trees", "groups", "tokens_generated", "seconds_generating", "seconds_bookkeeping",
                           "seconds_logging", "seconds_waiting", "seconds_total", "tokens_prefilled",
                           "tokens_recomputed", "prefix_tokens", "nodes_evicted"}) {
    for (const double value : run.column("search", name)) sums[name] += value;
  }
  if (sums["seconds_total"] <= 0) return;
  double logging = sums["seconds_logging"];
  for (const double value : run.column("learner", "seconds_logging")) logging += value;
  const auto ranks = static_cast<double>(std::max<size_t>(1, run.info().hosts.size()));
  const double busy = sums["seconds_total"] - sums["seconds_waiting"];
  fmt::print("\nsearch: {:.0f} trees, {:.0f} groups of rollouts, {:.0f} tokens\n", sums["trees"], sums["groups"],
             sums["tokens_generated"]);
  fmt::print(
      "        of a search rank's working time {:.1f} % is generation and {:.1f} % bookkeeping; HDF5 takes {:.2f} % of "
      "the run\n",
      100 * sums["seconds_generating"] / busy, 100 * sums["seconds_bookkeeping"] / busy,
      100 * logging / ranks / std::max(last(run, "learner", "elapsed"), 1e-9));
  fmt::print(
      "        expansions continued from {:.0f} prefix tokens: {:.1f} % were computed for it, {:.2f} % more than once; "
      "{:.0f} nodes evicted\n",
      sums["prefix_tokens"], 100 * sums["tokens_prefilled"] / std::max(sums["prefix_tokens"], 1.0),
      100 * sums["tokens_recomputed"] / std::max(sums["prefix_tokens"], 1.0), sums["nodes_evicted"]);
}

void print_summary(const RunReader& run) {
  const RunInfo& info = run.info();
  fmt::print("state      {}\nseed       {}\nrevision   {}\nranks      {}\ncommand    {}\n", run.state(), info.seed,
             info.revision, info.rank_layout, info.command_line);
  if (run.attempt() > 1) fmt::print("attempt    {}, resumed\n", run.attempt());
  fmt::print("step       {:.0f}, {} so far\n", last(run, "learner", "step"),
             format_duration(last(run, "learner", "elapsed")));
  fmt::print("tokens     {:.0f} generated, {:.0f} trained\n", last(run, "learner", "tokens_generated"),
             last(run, "learner", "tokens_trained"));
  print_evaluations(run);
  print_search(run);
}

void print_list(const std::vector<Place>& places, int64_t limit) {
  fmt::print("\n{:<18} {:<9} {:>5} {:>8} {:>6} {:>9} {:>8} {:<10} {}\n", "tree", "kind", "step", "problem", "nodes",
             "correct", "tokens", "stopped", "id");
  int64_t shown = 0;
  for (const Place& place : places) {
    if (shown++ == limit) break;
    const PartReader::TreeRow& row = place.row;
    fmt::print("{:<18} {:<9} {:>5} {:>8} {:>6} {:>4}/{:<4} {:>8} {:<10} {}\n", name_of(place), to_string(row.kind),
               row.key.step, row.key.problem_index, row.n_nodes, row.n_correct, row.n_recorded, row.tokens_generated,
               to_string(row.stop_reason), row.problem_id);
  }
  if (static_cast<int64_t>(places.size()) > limit) {
    fmt::print("… {} more (--limit)\n", static_cast<int64_t>(places.size()) - limit);
  }
}

// "rescue": a solved tree whose problem's direct rollouts all failed; "solved"; "largest". Of several the
// largest.
const Place* find_tree(const std::vector<Place>& places, const std::string& wanted) {
  const Place* found = nullptr;
  std::map<TreeKey, bool> failed_groups;
  for (const Place& place : places) {
    if (place.row.kind == RecordKind::kRollouts && place.row.n_correct == 0) failed_groups[place.row.key] = true;
  }
  for (const Place& place : places) {
    if (name_of(place) == wanted || (place.row.problem_id == wanted && place.row.kind == RecordKind::kTree))
      return &place;
    if (place.row.kind != RecordKind::kTree) continue;
    const bool larger = found == nullptr || place.row.n_nodes > found->row.n_nodes;
    if (wanted == "largest" && larger) found = &place;
    if (wanted == "solved" && place.row.n_correct > 0 && larger) found = &place;
    if (wanted == "rescue" && place.row.n_correct > 0 && failed_groups.count(place.row.key) != 0 && larger)
      found = &place;
  }
  return found;
}

void print_events(const TreeRecord& tree) {
  fmt::print("\n{:>5}  {:<16} {:>6}  {}\n", "iter", "event", "node", "score");
  for (const SearchEvent& event : tree.events) {
    fmt::print("{:>5}  {:<16} {:>6}  {:.4f}\n", event.iteration, to_string(event.kind), event.node, event.score);
  }
}

void print_tree(const RunReader& run, const std::vector<Place>& places, const Options& options) {
  const Place* place = find_tree(places, options.tree);
  const bool by_kind = options.tree == "rescue" || options.tree == "solved" || options.tree == "largest";
  if (place == nullptr && by_kind) {
    bad_input("no tree of {} is '{}'; --list lists what there is", options.run.string(), options.tree);
  }
  if (place == nullptr) {
    bad_input("no tree '{}' in {}: give a name from --list, a problem id, or one of rescue, solved, largest",
              options.tree, options.run.string());
  }
  const Config config =
      read_config_text(run.info().config_text, "config of " + options.run.string(), {}, ReadFor::kSampling);
  const Domain domain = make_domain(config);
  const TreeRecord tree = PartReader(place->part).tree(place->row.row);
  fmt::print("{}", text_tree(tree, [&](TokenSpan tokens) { return domain.language->decode(tokens); }));
  if (options.events) print_events(tree);
}

void inspect(const Options& options) {
  const RunReader run(options.run);
  if (!options.tree.empty()) return print_tree(run, all_trees(run), options);
  print_summary(run);
  if (options.list) print_list(all_trees(run), options.limit);
}

uint64_t bytes_of(const std::filesystem::path& run) {
  std::error_code error;
  uint64_t bytes = 0;
  std::vector<std::filesystem::path> files = list_parts(run);
  files.push_back(run / "run.h5");
  for (const std::filesystem::path& file : files) {
    const uint64_t size = std::filesystem::file_size(file, error);
    if (!error) bytes += size;
  }
  return bytes;
}

// In a child, since libhdf5 may crash on a damaged file; which one it was, the check finds out.
int inspect_command(const Options& options) {
  try {
    run_apart(options.run.string(), bytes_of(options.run), [&] {
      inspect(options);
      return std::string();
    });
  } catch (const CrashedApart&) {
    for (const FileReport& file : check_run(options.run, /*repair=*/false).files) {
      if (file.state == FileState::kDamaged && !file.findings.empty()) bad_input("{}", file.findings.front());
    }
    throw;
  }
  return kExitOk;
}

}  // namespace

void add_inspect(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("inspect", "Print a run's summary, its trees, or one tree as text; live runs too");
  command->add_option("run", options->run, "Run folder")->required();
  command->add_option(
      "--tree", options->tree,
      "A tree: its name from --list, a problem id, or: rescue (solved where all direct rollouts failed), "
      "solved, largest");
  command->add_flag("--list", options->list, "List the trees");
  command->add_option("--limit", options->limit, "Rows of the list")->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  command->add_flag("--events", options->events, "With --tree: the search's diary as well");
  command->callback([options, &line] { line.chosen = [options] { return inspect_command(*options); }; });
}

}  // namespace deepsearch
