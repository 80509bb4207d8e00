#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <numeric>

#include <CLI/CLI.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "core/words.h"
#include "data/answer_form.h"
#include "data/curation.h"
#include "data/problem_file.h"
#include "run/config.h"
#include "run/problem_source.h"

namespace deepsearch {

namespace {

struct Options {
  std::string config_path;
  std::vector<std::string> overrides;
  std::string split = "test";
  int64_t count = 100;
  std::filesystem::path out;
  std::vector<std::filesystem::path> summary;
};

void print_forms(const std::vector<ProblemRow>& rows, const std::vector<int64_t>& places) {
  std::array<int64_t, kAnswerForms> forms{};
  for (const int64_t place : places) {
    ++forms[static_cast<size_t>(answer_form(rows[static_cast<size_t>(place)].problem.answer))];
  }
  const auto share = [&](int64_t count) {
    return 100.0 * static_cast<double>(count) / static_cast<double>(std::max<size_t>(places.size(), 1));
  };
  int64_t open = 0;
  for (int form = 0; form < kAnswerForms; ++form) {
    const auto kind = static_cast<AnswerForm>(form);
    const int64_t count = forms[static_cast<size_t>(form)];
    open += guessable(kind) ? count : 0;
    fmt::print("  {:<12} {:>7}  {:>5.1f} %\n", to_string(kind), count, share(count));
  }
  fmt::print("  {:<12} {:>7}  {:>5.1f} %  (yes/no, true/false, letter)\n", "guessable", open, share(open));
}

// What is in a file, and what [problems] would leave out of it for training.
void summarise(const std::filesystem::path& path) {
  const std::vector<ProblemRow> rows = read_problem_file(path);
  std::vector<int64_t> all(rows.size());
  std::iota(all.begin(), all.end(), 0);
  fmt::print("{}: {}\n", path.string(), counted(rows.size(), "problem"));
  print_forms(rows, all);
  const Curation curation = curate(rows, /*keep_conflicts=*/false, same_reference);
  fmt::print("  repeats      {:>7}  (the text of an earlier problem, white space aside)\n", curation.repeats);
  fmt::print("  contradict   {:>7}  (one text, several answers)\n", curation.contradicting);
  for (const Conflict& conflict : curation.conflicts) {
    const Problem& one = rows[static_cast<size_t>(conflict.first)].problem;
    const Problem& other = rows[static_cast<size_t>(conflict.second)].problem;
    fmt::print("    lines {} ({}) \"{}\" and {} ({}) \"{}\"\n", conflict.first + 1, one.id, one.answer,
               conflict.second + 1, other.id, other.answer);
  }
  std::vector<int64_t> kept;
  for (const int64_t place : curation.kept) {
    if (!guessable(answer_form(rows[static_cast<size_t>(place)].problem.answer))) kept.push_back(place);
  }
  fmt::print("  for training {:>7}; with guessable = \"exclude\" {:>7}\n", curation.kept.size(), kept.size());
}

int run_problems(const Options& options) {
  for (const std::filesystem::path& path : options.summary) summarise(path);
  if (options.out.empty()) {
    if (options.summary.empty()) bad_input("problems: give --out FILE to write, or --summary FILE to look at");
    return kExitOk;
  }
  const Config config = read_config(options.config_path, options.overrides, ReadFor::kSampling);
  const std::unique_ptr<Task> task = make_task(config.task);
  const Split split = options.split == "train" ? Split::kTrain : Split::kTest;
  std::vector<ProblemRow> rows;
  for (int64_t i = 0; i < options.count; ++i) {
    rows.push_back({});
    rows.back().problem = task->problem(split, static_cast<uint64_t>(i));
  }
  write_problem_file(options.out, rows);
  fmt::print("{} of task {} ({} split) in {}\n", counted(rows.size(), "problem"), config.task.name, options.split,
             options.out.string());
  return kExitOk;
}

}  // namespace

void add_problems(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("problems", "Write problems of an embedded task as JSONL, or look at a file");
  command->add_option("config", options->config_path, "TOML file; without it, defaults");
  command->add_option("--set", options->overrides, "Override a key, e.g. --set task.name=chain")
      ->allow_extra_args(false);
  command->add_option("--split", options->split, "train or test")->check(CLI::IsMember({"train", "test"}));
  command->add_option("--count", options->count, "Problems to write")->check(CLI::Range(1, 10000000));
  command->add_option("--out", options->out, "File to write");
  command->add_option("--summary", options->summary,
                      "Problem files: print how many there are, by the form of their answers, and what repeats");
  command->callback([options, &line] { line.chosen = [options] { return run_problems(*options); }; });
}

}  // namespace deepsearch
