// Files that are either whole or absent, and reads that never trust a size. Errors name the path and errno's text;
// a full disk is bad input in the sense of exit code 2: the user must act, and a retry without that is useless.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace deepsearch {

// Writes to a temporary name in the same folder, fsyncs file and folder, renames over `path`.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// Whole file; more than `max_bytes` is an error before anything is allocated.
std::string read_file(const std::filesystem::path& path, uint64_t max_bytes);

// Throws the Error for a failed call on `path`: "cannot WHAT PATH: errno's text", exit code 2 for what the user can
// mend ("disk full: …" for ENOSPC and EDQUOT, wrong path, missing rights), else 1.
[[noreturn]] void fail_with_errno(std::string_view what, const std::filesystem::path& path, int error);

void create_folders(const std::filesystem::path& path);
// Throws what create_folders() and a write below it would throw, as far as can be told without writing: before hours of
// work, not after them.
void check_folder_can_be_written(const std::filesystem::path& path);
void sync_folder(const std::filesystem::path& path);

}  // namespace deepsearch
