// The subcommands. Each adds itself to the command line and returns the process's exit code when chosen. Errors are
// thrown; main() prints them as one line.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace deepsearch {

struct CommandLine {
  std::vector<std::string> arguments;  // as given, for the record
  std::function<int()> chosen;         // set by the subcommand's callback
  int* argc = nullptr;                 // for MPI_Init
  char*** argv = nullptr;
  std::string text() const;  // one line
};

void add_train(CLI::App& app, CommandLine& line);
void add_filter(CLI::App& app, CommandLine& line);
void add_submit(CLI::App& app, CommandLine& line);
void add_sweep(CLI::App& app, CommandLine& line);
void add_sft(CLI::App& app, CommandLine& line);
void add_plan(CLI::App& app, CommandLine& line);
void add_simulate(CLI::App& app, CommandLine& line);
void add_evaluate(CLI::App& app, CommandLine& line);
void add_generate(CLI::App& app, CommandLine& line);
void add_score(CLI::App& app, CommandLine& line);
void add_compare(CLI::App& app, CommandLine& line);
void add_tokenize(CLI::App& app, CommandLine& line);
void add_problems(CLI::App& app, CommandLine& line);
void add_inspect(CLI::App& app, CommandLine& line);
void add_check(CLI::App& app, CommandLine& line);
void add_config(CLI::App& app, CommandLine& line);
void add_bench(CLI::App& app, CommandLine& line);
void add_verify(CLI::App& app, CommandLine& line);
// Of `bench`: the engine's own, the learner's, the verifier against Math-Verify, messages between ranks, the store, and
// a tree beside its tokens.
void add_engine_benches(CLI::App& bench, CommandLine& line);
void add_learn_bench(CLI::App& bench, CommandLine& line);
void add_verify_bench(CLI::App& bench, CommandLine& line);
void add_message_bench(CLI::App& bench, CommandLine& line);
void add_store_bench(CLI::App& bench, CommandLine& line);
void add_tree_bench(CLI::App& bench, CommandLine& line);

}  // namespace deepsearch
