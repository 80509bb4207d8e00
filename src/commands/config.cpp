#include "core/config.h"

#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "commands/commands.h"
#include "run/config.h"

namespace deepsearch {

namespace {

struct Options {
  std::string path;
  std::vector<std::string> overrides;
  bool explain = false;
};

}  // namespace

void add_config(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("config", "Check a config and print it resolved, or explain every key");
  command->add_option("config", options->path, "TOML file; without it, defaults");
  command->add_option("--set", options->overrides, "Override a key, e.g. --set search.width=4")
      ->allow_extra_args(false);
  command->add_flag("--explain", options->explain, "Print every key with meaning, unit, range and default");
  command->callback([options, &line] {
    line.chosen = [options] {
      if (options->explain) {
        Config defaults;
        fmt::print("{}", explain_config([&](ConfigVisitor& v) { defaults.describe(v); }));
      } else {
        fmt::print("{}", config_text(read_config(options->path, options->overrides)));
      }
      return 0;
    };
  });
}

}  // namespace deepsearch
