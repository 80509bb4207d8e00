// Error: the one exception type of the program. It carries the exit code the process ends with, and collects context
// on its way up ("run.toml: [search].width: …"), so that what is printed is one line that says what, where and what
// would be right. Thread-safe in the usual sense (no shared state).
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace deepsearch {

enum ExitCode : int { kExitOk = 0, kExitFailure = 1, kExitBadInput = 2, kExitInterrupted = 130 };

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, int exit_code = kExitFailure)
      : std::runtime_error(message), exit_code_(exit_code) {}

  int exit_code() const { return exit_code_; }

  // The same error with "where: " put before its text.
  Error within(const std::string& where) const { return Error(where + ": " + what(), exit_code_); }

 private:
  int exit_code_;
};

// The user's input is wrong: exit code 2. Say what was found, where, and what would be right.
template <class... Args>
[[noreturn]] void bad_input(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...), kExitBadInput);
}

// Something failed that the user did not cause: exit code 1.
template <class... Args>
[[noreturn]] void failure(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...), kExitFailure);
}

}  // namespace deepsearch
