// deepsearch bench store
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "core/files.h"
#include "store/bench.h"

namespace deepsearch {

namespace {

struct Options {
  StoreBenchParams params;
  std::filesystem::path json;
};

void print(const StoreBenchParams& p, const StoreBenchResult& r) {
  const auto nodes = static_cast<double>(r.nodes);
  const auto tokens = static_cast<double>(r.tokens);
  fmt::print("{} trees of {} nodes of {} tokens; gzip {}, {} mantissa bits; one thread\n\n", p.trees, p.nodes,
             p.step_tokens, p.part.deflate, p.part.mantissa_bits);
  fmt::print("  {:<44}{:>10.2f}\n", "nodes, M/s", nodes / r.seconds / 1e6);
  fmt::print("  {:<44}{:>10.2f}\n", "with as many times their tokens, M/s", tokens / r.seconds / 1e6);
  fmt::print("  {:<44}{:>10.2f}\n", "nodes, M a second of CPU time", nodes / r.cpu_seconds / 1e6);
  fmt::print("  {:<44}{:>10.2f}\n", "tokens, M a second of CPU time", tokens / r.cpu_seconds / 1e6);
  fmt::print("  {:<44}{:>10.2f}\n", "id, log-prob and entropy on disk, bytes/token", r.token_bytes);
  fmt::print("  {:<44}{:>10.2f}\n", "policy version on disk, bytes/token", r.version_bytes);
  fmt::print("  {:<44}{:>10.2f}\n", "node and its events on disk, bytes/node", r.node_bytes);
  fmt::print("  {:<44}{:>10.2f}\n", "the file, MB", r.bytes / 1e6);
  fmt::print("  {:<44}{:>10.2f}\n", "most held by the writer's buffers, MB", r.memory_bytes / 1e6);
  fmt::print("  {:<44}{:>10.2f}\n", "file, GB/s", r.bytes / r.seconds / 1e9);
  fmt::print("  {:<44}{:>10.2f}\n", "plain write and fsync to the same folder, GB/s", r.write_gbs);
  fmt::print("  {:<44}{:>10.2f}\n", "memcpy, GB/s", r.memcpy_gbs);
}

void write_json(const std::filesystem::path& path, const StoreBenchResult& r) {
  const nlohmann::ordered_json json = {{"nodes", r.nodes},
                                       {"tokens", r.tokens},
                                       {"seconds", r.seconds},
                                       {"cpu_seconds", r.cpu_seconds},
                                       {"bytes", r.bytes},
                                       {"token_bytes", r.token_bytes},
                                       {"version_bytes", r.version_bytes},
                                       {"node_bytes", r.node_bytes},
                                       {"memory_bytes", r.memory_bytes},
                                       {"write_gbs", r.write_gbs},
                                       {"memcpy_gbs", r.memcpy_gbs}};
  write_file_atomically(path, json.dump(2) + "\n");
}

}  // namespace

void add_store_bench(CLI::App& bench, CommandLine& line) {
  auto options = std::make_shared<Options>();
  options->params.part.mantissa_bits = 12;
  StoreBenchParams& p = options->params;
  CLI::App* command = bench.add_subcommand("store", "Appending trees to a part, against plain writing and memcpy");
  command->add_option("--folder", p.folder, "Where the file is written, and removed again");
  command->add_option("--trees", p.trees, "Trees")->check(CLI::Range(1, 1000000));
  command->add_option("--nodes", p.nodes, "Nodes of a tree")->check(CLI::Range(1, 1000000));
  command->add_option("--step-tokens", p.step_tokens, "Tokens of a node")->check(CLI::Range(1, 4096));
  command->add_option("--vocabulary", p.vocabulary, "Different tokens")->check(CLI::Range(2, 10000000));
  command->add_option("--compression-level", p.part.deflate, "0: none, 1 to 9: gzip")->check(CLI::Range(0, 9));
  command->add_option("--mantissa-bits", p.part.mantissa_bits, "Bits kept of log-probs and entropies")
      ->check(CLI::Range(0, 23));
  command->add_option("--json", options->json, "Write the figures to this file too");
  command->callback([options, &line] {
    line.chosen = [options] {
      check_folder_can_be_written(options->params.folder);
      const StoreBenchResult result = bench_store(options->params);
      print(options->params, result);
      if (!options->json.empty()) write_json(options->json, result);
      return kExitOk;
    };
  });
}

}  // namespace deepsearch
