#include "core/files.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "core/error.h"

namespace deepsearch {

void fail_with_errno(std::string_view what, const std::filesystem::path& path, int error) {
  const std::string reason = std::system_category().message(error);
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      bad_input("disk full: cannot {} {}: {}; free some space or choose another folder", what, path.string(), reason);
    case ENOENT:
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOTDIR:
    case EISDIR:
    case EEXIST:
    case ELOOP:
    case ENAMETOOLONG:
    case EFBIG:
      bad_input("cannot {} {}: {}", what, path.string(), reason);
    default:
      failure("cannot {} {}: {}", what, path.string(), reason);
  }
}

namespace {

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return value_; }
  // 0 or errno: network file systems report a full quota only here.
  int close() {
    const int value = value_;
    value_ = -1;
    return ::close(value) == 0 || errno == EINTR ? 0 : errno;
  }

 private:
  int value_;
};

// Removes the temporary file unless the rename took it.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::filesystem::path path) : path_(std::move(path)) {}
  ~TemporaryFile() {
    if (!kept_) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void keep() { kept_ = true; }

 private:
  std::filesystem::path path_;
  bool kept_ = false;
};

int open_retrying(const std::filesystem::path& path, int flags, mode_t mode = 0) {
  int descriptor = -1;
  do {
    descriptor = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

std::filesystem::path temporary_name(const std::filesystem::path& path) {
  static std::atomic<uint64_t> counter{0};
  // Cut, so that a name of the longest allowed length still has room for the suffix.
  const std::string stem = path.filename().string().substr(0, 200);
  return path.parent_path() / fmt::format(".{}.tmp-{}-{}", stem, ::getpid(), counter++);
}

void write_all(int descriptor, std::string_view bytes, const std::filesystem::path& path) {
  constexpr size_t kChunk = size_t{1} << 30;  // Linux writes at most 2 GiB − 4 KiB a call
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), std::min(bytes.size(), kChunk));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_with_errno("write", path, errno);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  if (!path.has_filename()) bad_input("cannot write \"{}\": it names no file", path.string());
  std::filesystem::path temporary;
  int opened = -1;
  do {  // a leftover of a killed process with our id is stepped over, never shared
    temporary = temporary_name(path);
    opened = open_retrying(temporary, O_WRONLY | O_CREAT | O_EXCL, 0666);
  } while (opened < 0 && errno == EEXIST);
  if (opened < 0) fail_with_errno("write", path, errno);

  Descriptor file(opened);
  TemporaryFile owned(temporary);
  write_all(file.get(), bytes, path);
  if (::fsync(file.get()) != 0) fail_with_errno("write", path, errno);
  if (const int error = file.close(); error != 0) fail_with_errno("write", path, error);
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail_with_errno("write", path, errno);
  owned.keep();
  sync_folder(path.parent_path());
}

std::string read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  Descriptor file(open_retrying(path, O_RDONLY));
  if (file.get() < 0) fail_with_errno("read", path, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_with_errno("read", path, errno);
  if (S_ISDIR(status.st_mode)) fail_with_errno("read", path, EISDIR);
  const auto claimed = static_cast<uint64_t>(std::max<off_t>(status.st_size, 0));
  if (claimed > max_bytes) {
    bad_input("{} has {} bytes; at most {} are read here", path.string(), claimed, max_bytes);
  }

  // The size is only a hint: pipes claim 0 and a file may grow meanwhile. One byte more shows the end without growing.
  constexpr uint64_t kChunk = 1 << 16;
  std::string bytes;
  uint64_t filled = 0;
  for (uint64_t wanted = claimed + 1;; wanted = std::max(kChunk, filled)) {
    bytes.resize(filled + std::min(wanted, max_bytes + 1 - filled));
    const ssize_t got = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (got < 0) {
      if (errno == EINTR) continue;
      fail_with_errno("read", path, errno);
    }
    if (got == 0) break;
    filled += static_cast<uint64_t>(got);
    if (filled > max_bytes) bad_input("{} has more than the {} bytes that are read here", path.string(), max_bytes);
  }
  bytes.resize(filled);
  return bytes;
}

void create_folders(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) fail_with_errno("create folder", path, error.value());
  if (!std::filesystem::is_directory(path, error)) fail_with_errno("create folder", path, ENOTDIR);
}

void sync_folder(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.empty() ? "." : path;
  Descriptor descriptor(open_retrying(folder, O_RDONLY | O_DIRECTORY));
  if (descriptor.get() < 0) fail_with_errno("sync folder", folder, errno);
  // Some network file systems cannot sync a folder and say so; their rename is already durable or never will be.
  if (::fsync(descriptor.get()) != 0 && errno != EINVAL && errno != ENOTSUP) {
    fail_with_errno("sync folder", folder, errno);
  }
}

}  // namespace deepsearch
