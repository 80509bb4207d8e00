#include "core/atomic_file.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "core/activity.h"
#include "core/error.h"
#include "core/files.h"

namespace deepsearch {
namespace {

std::filesystem::path temporary_name(const std::filesystem::path& path) {
  static std::atomic<uint64_t> counter{0};
  // Cut, so that a name of the longest allowed length still has room for the suffix.
  const std::string stem = path.filename().string().substr(0, 200);
  return path.parent_path() / fmt::format(".{}.tmp-{}-{}", stem, ::getpid(), counter++);
}

int create(const std::filesystem::path& path) {
  int descriptor = -1;
  do {
    descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

// A device or a pipe (/dev/null, /dev/stdout, a named pipe) is written to: a rename would put a file in its place.
bool is_stream(const std::filesystem::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 &&
         (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode) || S_ISFIFO(status.st_mode));
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  if (!path_.has_filename()) bad_input("cannot write \"{}\": it names no file", path_.string());
  if (is_stream(path_)) {
    do {
      descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    } while (descriptor_ < 0 && errno == EINTR);
    if (descriptor_ < 0) fail_with_errno("write", path_, errno);
    return;
  }
  do {  // a leftover of a killed process with our id is stepped over, never shared
    temporary_ = temporary_name(path_);
    descriptor_ = create(temporary_);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) fail_with_errno("write", path_, errno);
}

AtomicFile::~AtomicFile() {
  drop();
}

void AtomicFile::drop() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
}

void AtomicFile::write(std::string_view bytes) {
  constexpr size_t kChunk = size_t{64} << 20;  // small enough that a slow disk shows progress
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kChunk));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_with_errno("write", path_, errno);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
    report_progress();
  }
}

void AtomicFile::publish() {
  const CurrentOperation operation("fsync of a file");
  report_progress();
  const bool stream = temporary_.empty();
  if (!stream && ::fsync(descriptor_) != 0) fail_with_errno("write", path_, errno);
  // Network file systems report a full quota only here.
  if (::close(std::exchange(descriptor_, -1)) != 0 && errno != EINTR) fail_with_errno("write", path_, errno);
  if (stream) return;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_with_errno("write", path_, errno);
  temporary_.clear();
  sync_folder(path_.parent_path());
}

}  // namespace deepsearch
