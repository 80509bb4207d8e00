// Other programs, started and waited for.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

namespace deepsearch {

struct Finished {
  int code = 0;        // 128 + signal when one ended it; 127 when there is no such program
  std::string output;  // stdout and stderr as they came, at most 1 MiB
  bool ok() const { return code == 0; }
};

// Runs words[0] (looked for in PATH), without a shell and without input.
Finished run_program(const std::vector<std::string>& words);

// The same without waiting, output where ours goes; the process id.
pid_t start_program(const std::vector<std::string>& words, const std::vector<std::string>& environment = {});

bool is_program(const std::string& name);  // found in PATH

// For a shell: as it is where that is safe, else in single quotes.
std::string shell_quoted(const std::string& word);
std::string shell_words(const std::vector<std::string>& words);

}  // namespace deepsearch
