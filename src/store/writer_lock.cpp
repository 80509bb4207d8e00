#include "store/writer_lock.h"

#include <chrono>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace deepsearch {
namespace {

struct flock far_byte(short type) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = off_t{1} << 62;
  lock.l_len = 1;
  return lock;
}

bool changed_lately(const std::filesystem::path& path) {
  std::error_code error;
  const auto changed = std::filesystem::last_write_time(path, error);
  return !error && std::filesystem::file_time_type::clock::now() - changed < std::chrono::minutes(2);
}

}  // namespace

void WriterLock::take(const std::filesystem::path& path) {
  release();
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) return;
  struct flock lock = far_byte(F_RDLCK);
  static_cast<void>(fcntl(descriptor_, F_OFD_SETLK, &lock));
}

void WriterLock::release() {
  if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
}

bool is_being_written(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  struct flock lock = far_byte(F_WRLCK);
  const bool asked = fcntl(descriptor, F_OFD_GETLK, &lock) == 0;
  close(descriptor);
  return asked ? lock.l_type != F_UNLCK : changed_lately(path);
}

}  // namespace deepsearch
