// A file that is written piece by piece and appears whole or not at all: a temporary name in the same folder, fsync,
// rename. What is no file but a device or a pipe (/dev/null, /dev/stdout) is written to as it is. Errors as in
// core/files.h. One thread.
#pragma once

#include <filesystem>
#include <string_view>

namespace deepsearch {

class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();  // without publish(): the temporary file is removed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  void publish();

 private:
  void drop();

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

}  // namespace deepsearch
