// What a rank says when memory runs out in any of its threads: one line with rank, host and phase, how much it holds
// and what would help; then the process ends with exit code 2, and the launcher ends the others. The kernel's own way
// (a cgroup's limit: SIGKILL) leaves no such moment.
#pragma once

#include <cstdint>
#include <string>

#include "comm/world.h"

namespace deepsearch {

// While it lives, a failed `new` ends the process (std::set_new_handler). One at a time; `world` outlives it.
class OutOfMemoryGuard {
 public:
  explicit OutOfMemoryGuard(const World& world);
  ~OutOfMemoryGuard();
  OutOfMemoryGuard(const OutOfMemoryGuard&) = delete;
  OutOfMemoryGuard& operator=(const OutOfMemoryGuard&) = delete;
};

// The same for what allocates without `new` and says so in an exception (LibTorch, a system call's ENOMEM): false when
// `what` speaks of something else, and does not return otherwise.
bool end_if_out_of_memory(const World& world, const std::string& what);

struct MemoryUse {
  int64_t held = 0;    // bytes of address space
  int64_t limit = -1;  // … at most (ulimit -v); −1: none
  int64_t resident = 0;
  int64_t available = 0;  // that the machine, or the job's control group, still has
};
// "out of memory: …" Pure.
std::string out_of_memory_text(const MemoryUse& use, bool searches, bool learns);
bool speaks_of_memory(const std::string& what);

}  // namespace deepsearch
