#include "core/memory.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

#include "core/error.h"

namespace deepsearch {

namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// The first number of a one-line file; nothing for "max" or a file that is not there.
std::optional<int64_t> number_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  int64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

// The number after `key` at the start of a line.
std::optional<int64_t> field_in(const std::filesystem::path& path, const std::string& key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    int64_t value = 0;
    if (words >> name >> value && name == key) return value;
  }
  return std::nullopt;
}

// What one control group leaves; `limit` and `usage` are the names of version 1's or 2's files.
int64_t left_in(const std::filesystem::path& group, const char* limit, const char* usage) {
  const std::optional<int64_t> most = number_in(group / limit);
  const std::optional<int64_t> used = number_in(group / usage);
  if (!most || !used) return kUnlimited;
  const int64_t cache = field_in(group / "memory.stat", "inactive_file").value_or(0) +
                        field_in(group / "memory.stat", "active_file").value_or(0);
  return std::max<int64_t>(0, *most - std::max<int64_t>(0, *used - cache));
}

// The least any group from `path` up to the root leaves: a limit holds for all below it.
int64_t left_up_from(const std::filesystem::path& root, std::filesystem::path path, const char* limit,
                     const char* usage) {
  int64_t least = left_in(root, limit, usage);
  for (path = path.relative_path(); !path.empty(); path = path.parent_path()) {
    least = std::min(least, left_in(root / path, limit, usage));
  }
  return least;
}

std::string gigabytes(int64_t bytes) {
  return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9);
}

}  // namespace

int64_t memory_left_in_groups(const std::filesystem::path& groups, const std::filesystem::path& root) {
  std::ifstream file(groups);  // "0::/path" (version 2), "5:memory:/path" (version 1)
  std::string line;
  int64_t least = kUnlimited;
  while (std::getline(file, line)) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::filesystem::path path = line.substr(second + 1);
    if (controllers.empty()) {
      least = std::min(least, left_up_from(root, path, "memory.max", "memory.current"));
    } else if (controllers == "memory") {
      least = std::min(least, left_up_from(root / "memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes"));
    }
  }
  return least;
}

int64_t available_memory() {
  const std::optional<int64_t> machine = field_in("/proc/meminfo", "MemAvailable:");
  return std::min(machine ? *machine * 1024 : kUnlimited, memory_left_in_groups("/proc/self/cgroup", "/sys/fs/cgroup"));
}

void check_fits_memory(int64_t bytes, const std::string& what) {
  const int64_t available = available_memory();
  if (bytes > available) {
    bad_input("{} need {} of memory, {} are free", what, gigabytes(bytes), gigabytes(available));
  }
}

}  // namespace deepsearch
