#include "store/apart.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/sanitizers.h"

namespace deepsearch {
namespace {

constexpr uint64_t kMemory = uint64_t{4} << 30;  // and four times the file
constexpr uint64_t kSeconds = 15;                // of CPU time, and one for each megabyte
constexpr uint64_t kWaiting = 20;                // times that by the clock: a slow disk, but no wait without an end

void bound_child(uint64_t file_bytes) {
  if constexpr (!kHasShadowMemory) {
    const rlimit memory{kMemory + 4 * file_bytes, kMemory + 4 * file_bytes};
    setrlimit(RLIMIT_AS, &memory);
  }
  const uint64_t seconds = kSeconds + (file_bytes >> 20);
  const rlimit time{seconds, seconds + 1};
  setrlimit(RLIMIT_CPU, &time);
  std::signal(SIGALRM, SIG_DFL);
  alarm(static_cast<unsigned>(std::min<uint64_t>(kWaiting * seconds, 1U << 30)));
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody is left to read the answer
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
}

void write_all(int descriptor, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = write(descriptor, text.data() + at, text.size() - at);
    if (n <= 0) return;
    at += static_cast<size_t>(n);
  }
}

std::string read_all(int descriptor) {
  std::string text;
  std::array<char, 1 << 16> buffer;
  for (;;) {
    const ssize_t n = read(descriptor, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(buffer.data(), static_cast<size_t>(n));
  }
}

// What the child says: "+" and its text, or "-", an exit code, a blank and an error; and a last byte, so that half of
// it is told from all.
constexpr char kEnd = '.';

std::string said_by(const std::string& what, const std::function<std::string()>& work) {
  try {
    return fmt::format("+{}{}", work(), kEnd);
  } catch (const Error& error) {
    return fmt::format("-{} {}{}", error.exit_code(), error.what(), kEnd);
  } catch (const std::bad_alloc&) {
    return fmt::format("-{} {}: reading it takes more memory than its size explains; damaged{}",
                       static_cast<int>(kExitBadInput), what, kEnd);
  } catch (const std::exception& error) {
    return fmt::format("-{} {}: {}{}", static_cast<int>(kExitFailure), what, error.what(), kEnd);
  }
}

bool was_asked_to_end(int signal) {
  return signal == SIGPIPE || signal == SIGINT || signal == SIGTERM || signal == SIGHUP;
}

std::string end_of(int status) {
  if (!WIFSIGNALED(status)) return "the look at it ended early";
  const int signal = WTERMSIG(status);
  if (signal == SIGXCPU || signal == SIGKILL || signal == SIGALRM) return "the look at it did not come to an end";
  return fmt::format("HDF5 crashed on it (signal {})", signal);
}

}  // namespace

std::string run_apart(const std::string& what, uint64_t file_bytes, const std::function<std::string()>& work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) failure("cannot make a pipe: {}", std::strerror(errno));
  std::fflush(stdout);
  const pid_t child = fork();
  if (child < 0) failure("cannot start a process: {}", std::strerror(errno));
  if (child == 0) {
    close(ends[0]);
    bound_child(file_bytes);
    const std::string said = said_by(what, work);
    std::fflush(stdout);
    write_all(ends[1], said);
    _exit(0);
  }
  close(ends[1]);
  const std::string said = read_all(ends[0]);
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status) && was_asked_to_end(WTERMSIG(status))) {
    std::signal(WTERMSIG(status), SIG_DFL);
    std::raise(WTERMSIG(status));
  }
  if (said.size() < 2 || said.back() != kEnd) {
    throw CrashedApart(what + ": " + end_of(status) + ": damaged, restore it from a copy", kExitBadInput);
  }
  const std::string rest = said.substr(1, said.size() - 2);
  if (said.front() == '+') return rest;
  const size_t blank = rest.find(' ');
  throw Error(rest.substr(blank + 1), std::atoi(rest.substr(0, blank).c_str()));
}

}  // namespace deepsearch
