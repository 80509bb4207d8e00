// deepsearch bench messages
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "comm/message_bench.h"
#include "comm/world.h"
#include "commands/commands.h"
#include "core/error.h"
#include "core/files.h"
#include "core/progress.h"

namespace deepsearch {

namespace {

struct Options {
  MessageBenchParams params;
  std::filesystem::path json;
};

void print(const MessageBenchResult& r) {
  fmt::print("{} sender{} to rank 0\n\ntrees of {}, GB/s:\n", r.senders, r.senders == 1 ? "" : "s",
             format_bytes(static_cast<uint64_t>(r.tree_bytes)));
  fmt::print("  {:<44}{:>8.2f}\n", "as TreeMessages, packed and unpacked", r.trees_gbs);
  fmt::print("  {:<44}{:>8.2f}\n", "plain MPI_Send and MPI_Recv", r.plain_trees_gbs);
  fmt::print("  {:<44}{:>8.2f}\n", "packing alone", r.pack_gbs);
  fmt::print("  {:<44}{:>8.2f}\n", "unpacking alone", r.unpack_gbs);
  fmt::print("  {:<44}{:>8.2f}\n", "memcpy alone", r.memcpy_gbs);
  fmt::print("\nheartbeats ({:.0f} bytes) in and assignments ({:.0f} bytes) out at rank 0, messages/s:\n",
             r.heartbeat_bytes, r.assign_bytes);
  fmt::print("  {:<44}{:>8.0f}\n", "as messages, handled", r.small_per_second);
  fmt::print("  {:<44}{:>8.0f}\n", "the same by the receiver's CPU time", r.small_per_cpu_second);
  fmt::print("  {:<44}{:>8.0f}\n", "plain MPI_Recv and MPI_Send", r.plain_per_second);
}

void write_json(const std::filesystem::path& path, const MessageBenchResult& r) {
  const nlohmann::ordered_json json = {{"senders", r.senders},
                                       {"tree_bytes", r.tree_bytes},
                                       {"trees_gbs", r.trees_gbs},
                                       {"plain_trees_gbs", r.plain_trees_gbs},
                                       {"pack_gbs", r.pack_gbs},
                                       {"unpack_gbs", r.unpack_gbs},
                                       {"memcpy_gbs", r.memcpy_gbs},
                                       {"small_per_second", r.small_per_second},
                                       {"small_per_cpu_second", r.small_per_cpu_second},
                                       {"plain_per_second", r.plain_per_second}};
  write_file_atomically(path, json.dump(2) + "\n");
}

int bench_messages_command(const Options& options, const CommandLine& line) {
  World world(line.argc, line.argv);
  const MessageBenchResult result = bench_messages(world, options.params);
  if (world.rank() != 0) return kExitOk;
  print(result);
  if (!options.json.empty()) write_json(options.json, result);
  return kExitOk;
}

}  // namespace

void add_message_bench(CLI::App& bench, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      bench.add_subcommand("messages", "Messages between ranks, against plain MPI; start it with mpirun -n 2 or more");
  command->add_option("--tree-tokens", options->params.tree_tokens, "Tokens of a tree")->check(CLI::Range(1, 10000000));
  command->add_option("--trees", options->params.trees, "Trees each rank sends")->check(CLI::Range(1, 1000000));
  command->add_option("--small", options->params.small, "Heartbeats each rank sends")->check(CLI::Range(1, 100000000));
  command->add_option("--json", options->json, "Write the figures to this file too");
  command->callback(
      [options, &line] { line.chosen = [options, &line] { return bench_messages_command(*options, line); }; });
}

}  // namespace deepsearch
