#include "run/out_of_memory.h"

#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <pthread.h>
#include <string_view>
#include <sys/resource.h>
#include <unistd.h>

#include "core/activity.h"
#include "core/error.h"
#include "core/memory.h"

namespace deepsearch {

namespace {

// Given back first, so that there is room for the words. More than malloc takes from its heap: it goes to the system.
constexpr size_t kReserveBytes = 1 << 20;

const World* speaker = nullptr;
std::unique_ptr<char[]> reserve;
std::new_handler before = nullptr;
std::atomic<bool> ending{false};
pthread_t ending_thread;

void write_line(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

MemoryUse memory_use() {
  MemoryUse use;
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0;
  int64_t resident = 0;
  file >> pages >> resident;
  const int64_t page = ::sysconf(_SC_PAGESIZE);
  use.held = pages * page;
  use.resident = resident * page;
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    use.limit = static_cast<int64_t>(limit.rlim_cur);
  }
  use.available = available_memory();
  return use;
}

std::string gigabytes(int64_t bytes) {
  return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9);
}

// `what`: in the words of whoever found out, one line, or "".
[[noreturn]] void end_because(const std::string& what) {
  if (ending.exchange(true)) {
    if (::pthread_equal(ending_thread, ::pthread_self()) != 0) {  // not even room for the words
      write_line("a rank is out of memory\n");
      ::_exit(kExitBadInput);
    }
    for (;;) ::pause();  // another thread is at it
  }
  ending_thread = ::pthread_self();
  reserve.reset();
  const World& world = *speaker;
  const bool known = world.n_learners() > 0;  // roles are assigned
  write_line(fmt::format("{}: {}: {}{}{}\n", world.describe_rank(world.rank()), current_activity().phase, what,
                         what.empty() ? "" : ": ",
                         out_of_memory_text(memory_use(), !known || world.searches(), !known || world.learns())));
  ::_exit(kExitBadInput);
}

[[noreturn]] void end() {
  end_because("");
}

}  // namespace

OutOfMemoryGuard::OutOfMemoryGuard(const World& world) {
  speaker = &world;
  reserve = std::make_unique<char[]>(kReserveBytes);
  std::memset(reserve.get(), 1, kReserveBytes);
  before = std::set_new_handler(end);
}

OutOfMemoryGuard::~OutOfMemoryGuard() {
  std::set_new_handler(before);
  reserve.reset();
}

bool end_if_out_of_memory(const World& world, const std::string& what) {
  if (!speaks_of_memory(what)) return false;
  speaker = &world;
  end_because(what.substr(0, what.find('\n')));
}

bool speaks_of_memory(const std::string& what) {
  constexpr std::array<const char*, 4> kWords = {"bad_alloc", "can't allocate memory", "Cannot allocate memory",
                                                 "DefaultCPUAllocator: not enough memory"};
  for (const char* words : kWords) {
    if (what.find(words) != std::string::npos) return true;
  }
  return false;
}

std::string out_of_memory_text(const MemoryUse& use, bool searches, bool learns) {
  std::string text = "out of memory: it holds " + gigabytes(use.resident);
  if (use.limit >= 0) {
    text +=
        fmt::format(", its address space is {} of at most {} (ulimit -v)", gigabytes(use.held), gigabytes(use.limit));
  }
  text += fmt::format(", {} are free on this host; raise the limit, start fewer ranks a host, or lower ",
                      gigabytes(use.available));
  if (searches) text += "[engine].kv_memory_mb or [ranks].problems_in_flight";
  if (searches && learns) text += ", or ";
  if (learns) text += "[learn].tokens_per_microbatch";
  return text;
}

}  // namespace deepsearch
