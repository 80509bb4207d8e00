// What the user is told about a command line that does not parse.
#pragma once

#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace deepsearch {

// One line: the command or option that is unknown with the nearest that there is, else what CLI11 found, and where the
// right ones are listed. `app` is the whole program's, after its parse() threw `error`.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace deepsearch
