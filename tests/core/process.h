// Runs a piece of a test in a child process: for code that ends the process, catches signals or writes to the
// terminal.
#pragma once

#include <cerrno>
#include <cstdio>
#include <functional>
#include <pty.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace deepsearch {

struct ChildResult {
  std::string output;  // what it wrote to stdout and stderr together
  int status = 0;      // as from waitpid
};

inline ChildResult collect_child(pid_t child, int descriptor) {
  ChildResult result;
  char buffer[4096];
  for (;;) {
    const ssize_t got = read(descriptor, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;  // a terminal whose child has gone reports EIO
    result.output.append(buffer, static_cast<size_t>(got));
  }
  close(descriptor);
  waitpid(child, &result.status, 0);
  return result;
}

// `body` gets the exit code as its result; stdout and stderr are a pipe, or a terminal of 80 columns.
inline ChildResult run_in_child(const std::function<int()>& body, bool terminal = false) {
  int descriptor = -1;
  int pipe_ends[2] = {-1, -1};
  winsize size{};
  size.ws_row = 24;
  size.ws_col = 80;
  if (!terminal && pipe(pipe_ends) != 0) throw std::runtime_error("pipe failed");
  fflush(nullptr);  // else the child would print the parent's unwritten lines again
  const pid_t child = terminal ? forkpty(&descriptor, nullptr, nullptr, &size) : fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    if (!terminal) {
      dup2(pipe_ends[1], STDOUT_FILENO);
      dup2(pipe_ends[1], STDERR_FILENO);
      close(pipe_ends[0]);
      close(pipe_ends[1]);
    }
    int code = 99;
    try {
      code = body();
    } catch (const std::exception& error) {
      fprintf(stderr, "uncaught: %s\n", error.what());
    }
    fflush(stdout);
    _exit(code);
  }
  if (!terminal) {
    close(pipe_ends[1]);
    descriptor = pipe_ends[0];
  }
  return collect_child(child, descriptor);
}

}  // namespace deepsearch
