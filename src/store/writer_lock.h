// Tells a file that is being written from one whose writer was killed: HDF5 marks both alike. Internal to store/.
//
// The lock is a shared one on a byte far behind the file's end, of an open file description of its own (F_OFD_SETLK),
// so that neither HDF5's own locks nor its readers meet it. It ends with the process. A file system without locks has
// none.
#pragma once

#include <filesystem>

namespace deepsearch {

class WriterLock {
 public:
  WriterLock() = default;
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;
  ~WriterLock() { release(); }
  void take(const std::filesystem::path& path);  // never fails
  void release();

 private:
  int descriptor_ = -1;
};

// A WriterLock is held on it, on any host; where locks cannot be asked for: it changed within the last two minutes.
bool is_being_written(const std::filesystem::path& path);

}  // namespace deepsearch
