#include "core/files.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "core/atomic_file.h"
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

 private:
  int value_;
};

int open_retrying(const std::filesystem::path& path, int flags, mode_t mode = 0) {
  int descriptor = -1;
  do {
    descriptor = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

}  // namespace

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.publish();
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

void check_folder_can_be_written(const std::filesystem::path& path) {
  std::filesystem::path there = std::filesystem::absolute(path).lexically_normal();
  std::error_code ignored;
  while (!std::filesystem::exists(there, ignored) && there != there.parent_path()) there = there.parent_path();
  if (!std::filesystem::is_directory(there, ignored)) fail_with_errno("create folder", path, ENOTDIR);
  if (::access(there.c_str(), W_OK | X_OK) != 0) fail_with_errno("write to", path, errno);
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
