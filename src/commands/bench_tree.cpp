// deepsearch bench tree
#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "core/files.h"
#include "measure/tree_bench.h"

namespace deepsearch {

namespace {

struct Options {
  TreeBenchParams params;
  std::filesystem::path json;
};

void print(const TreeBenchParams& params, const std::vector<TreeBenchRow>& rows) {
  fmt::print("one tree, {} children of {} tokens an expansion, one core; the tokens themselves take no time here\n\n",
             params.width, params.step_tokens);
  fmt::print("{:>10} {:>9} {:>10} {:>18} {:>22} {:>22} {:>8}\n", "order", "nodes", "frontier", "us an expansion",
             "of it, selection, us", "walk of all nodes, us", "ratio");
  for (const TreeBenchRow& row : rows) {
    fmt::print("{:>10} {:>9} {:>10} {:>18.1f} {:>22.2f} {:>22.1f} {:>7.1f}x\n", row.rule, row.nodes, row.frontier,
               1e6 * row.expansion_seconds, 1e6 * row.select_seconds, 1e6 * row.walk_seconds,
               row.walk_seconds / row.select_seconds);
  }
}

void write_json(const std::filesystem::path& path, const std::vector<TreeBenchRow>& rows) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const TreeBenchRow& row : rows) {
    json.push_back({{"order", row.rule},
                    {"nodes", row.nodes},
                    {"frontier", row.frontier},
                    {"expansion_seconds", row.expansion_seconds},
                    {"select_seconds", row.select_seconds},
                    {"walk_seconds", row.walk_seconds}});
  }
  write_file_atomically(path, json.dump(2) + "\n");
}

}  // namespace

void add_tree_bench(CLI::App& bench, CommandLine& line) {
  auto options = std::make_shared<Options>();
  TreeBenchParams& p = options->params;
  CLI::App* command =
      bench.add_subcommand("tree", "An expansion beside its tokens, by the size of the tree, against a walk of it");
  command->add_option("--sizes", p.sizes, "Nodes of the tree")->delimiter(',')->check(CLI::Range(10, 10000000));
  command->add_option("--width", p.width, "Children of a node")->check(CLI::Range(1, 1024));
  command->add_option("--step-tokens", p.step_tokens, "Tokens of a node")->check(CLI::Range(1, 4096));
  command->add_option("--max-depth", p.max_depth, "Steps of a response")->check(CLI::Range(1, 4096));
  command->add_option("--json", options->json, "Write the figures to this file too");
  command->callback([options, &line] {
    line.chosen = [options] {
      std::sort(options->params.sizes.begin(), options->params.sizes.end());
      const std::vector<TreeBenchRow> rows = bench_tree(options->params);
      print(options->params, rows);
      if (!options->json.empty()) write_json(options->json, rows);
      return kExitOk;
    };
  });
}

}  // namespace deepsearch
