#include "commands/usage_error.h"

#include <algorithm>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "core/config_schema.h"

namespace deepsearch {

namespace {

std::string did_you_mean(const std::string& typed, const std::vector<std::string>& known) {
  const std::string near = nearest_name(typed, known);
  return near.empty() ? "" : fmt::format("; did you mean {}?", near);
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::vector<std::string> command_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* inner : command.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(inner->get_name());
  }
  return names;
}

std::string complaint(const CLI::App& app, const CLI::App& command, const CLI::ParseError& error) {
  const std::vector<std::string> left = app.remaining(/*recurse=*/true);
  const auto option = std::find_if(left.begin(), left.end(), [](const std::string& word) { return word[0] == '-'; });
  if (option != left.end()) {
    const std::string name = option->substr(0, option->find('='));
    return fmt::format("unknown option {}{}", name, did_you_mean(name, option_names(command)));
  }
  if (const std::vector<std::string> commands = command_names(command); !commands.empty()) {
    if (left.empty()) return "a command is missing";
    return fmt::format("unknown command {}{}", left.front(), did_you_mean(left.front(), commands));
  }
  if (!left.empty()) return fmt::format("{} was not expected", left.front());
  return error.what();
}

}  // namespace

std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* command = &app;
  std::string name = "deepsearch";
  for (auto chosen = command->get_subcommands(); !chosen.empty(); chosen = command->get_subcommands()) {
    command = chosen.front();
    name += " " + command->get_name();
  }
  return fmt::format("{} (see {} --help)", complaint(app, *command, error), name);
}

}  // namespace deepsearch
