#include "engine/native/memory.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <sys/mman.h>

#include "core/error.h"

namespace deepsearch::native {
namespace {

// The number a file of one line holds; none for a missing file or "max".
std::optional<int64_t> number_in(const std::string& file) {
  std::ifstream in(file);
  int64_t value = 0;
  if (!(in >> value)) return std::nullopt;
  return value;
}

int64_t system_available() {
  std::ifstream in("/proc/meminfo");
  std::string key;
  while (in >> key) {
    int64_t kilobytes = 0;
    if (key == "MemAvailable:" && in >> kilobytes) return kilobytes * 1024;
    in.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::numeric_limits<int64_t>::max();
}

// What the groups from `path` up to the root leave of their limits.
int64_t group_available(const std::string& root, std::string path, const char* limit_file, const char* usage_file) {
  int64_t available = std::numeric_limits<int64_t>::max();
  while (true) {
    const std::string folder = root + path + "/";
    const std::optional<int64_t> limit = number_in(folder + limit_file);
    const std::optional<int64_t> usage = number_in(folder + usage_file);
    if (limit && usage) available = std::min(available, std::max<int64_t>(0, *limit - *usage));
    if (path.empty()) return available;
    path.resize(path.rfind('/'));
  }
}

}  // namespace

Pages::Pages(int64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  constexpr int64_t kHugePage = int64_t{2} << 20;
  void* memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    bytes_ = 0;
    bad_input("engine: {:.1f} GB of memory are not to be had ({}); a smaller model, batch or KV cache fits",
              static_cast<double>(bytes) / 1e9, std::strerror(errno));
  }
  if (bytes >= kHugePage) madvise(memory, static_cast<size_t>(bytes), MADV_HUGEPAGE);  // advice: may be refused
  data_ = static_cast<std::byte*>(memory);
}

Pages::~Pages() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(bytes_));
}

int64_t available_memory() {
  int64_t available = system_available();
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // "0::/path" (v2), "4:memory:/path" (v1)
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    if (controllers.empty()) {
      available = std::min(available, group_available("/sys/fs/cgroup", path, "memory.max", "memory.current"));
    } else if (controllers == "memory") {
      available = std::min(
          available, group_available("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes"));
    }
  }
  return available;
}

}  // namespace deepsearch::native
