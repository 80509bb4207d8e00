// How much memory this process may still take. Linux; thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace deepsearch {

// Empties a vector and frees what it held. `v = {}` would keep it: a braced list is assigned into the same memory.
template <class T>
void give_back(std::vector<T>& v) {
  std::vector<T>().swap(v);
}

// Bytes: the machine's MemAvailable, or what is left under the smallest cgroup limit (a container's, a Slurm job's)
// where that is less; page cache counts as free in both. INT64_MAX where neither can be read.
int64_t available_memory();

// The control groups' part of it: `groups` is /proc/self/cgroup or a file like it, `root` where their file system
// (version 1 or 2) is mounted. INT64_MAX: no limit.
int64_t memory_left_in_groups(const std::filesystem::path& groups, const std::filesystem::path& root);

// bad_input, before anything is allocated, when `bytes` more are not to be had. `what` begins the line: "MODEL/…: the
// weights need 14.2 GB of memory, 7.9 GB are free".
void check_fits_memory(int64_t bytes, const std::string& what);

}  // namespace deepsearch
