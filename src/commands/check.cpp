// deepsearch check
#include "store/check.h"

#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>

#include "commands/commands.h"
#include "core/error.h"

namespace deepsearch {

namespace {

struct Options {
  std::filesystem::path run;
  bool repair = false;
  bool report = false;
};

const char* word_of(FileState state) {
  switch (state) {
    case FileState::kClosed:
      return "closed";
    case FileState::kLive:
      return "being written";
    case FileState::kKilled:
      return "its writer was killed";
    case FileState::kDamaged:
      break;
  }
  return "damaged";
}

int check_command(const Options& options) {
  if (options.report) {
    fmt::print("{}", report_text(options.run));
    return kExitOk;
  }
  const RunReport report = check_run(options.run, options.repair);
  size_t findings = report.findings.size();
  for (const FileReport& file : report.files) {
    findings += file.findings.size();
    fmt::print("{}: {}{}{}\n", file.path.string(), word_of(file.state), file.contents.empty() ? "" : ": ",
               file.contents);
    if (!file.mended.empty()) fmt::print("{}: mended: {}\n", file.path.string(), file.mended);
  }
  std::fflush(stdout);
  for (const FileReport& file : report.files) {
    for (const std::string& finding : file.findings) fmt::print(stderr, "error: {}\n", finding);
  }
  for (const std::string& finding : report.findings) fmt::print(stderr, "error: {}\n", finding);
  if (report.clean()) {
    fmt::print("{} file{}, nothing wrong\n", report.files.size(), report.files.size() == 1 ? "" : "s");
    return kExitOk;
  }
  fmt::print(stderr, "error: {}: {} finding{}\n", options.run.string(), findings, findings == 1 ? "" : "s");
  return kExitBadInput;
}

}  // namespace

void add_check(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("check", "Check a run's HDF5 files, live ones too, and mend what a kill left");
  command->add_option("run", options->run, "Run folder, or one of its HDF5 files")->required();
  command->add_flag("--repair", options->repair, "Mend files whose writer was killed; no whole row is lost");
  command->add_flag("--report", options->report)->group("");  // hidden: for require_readable
  command->callback([options, &line] { line.chosen = [options] { return check_command(*options); }; });
}

}  // namespace deepsearch
