// `deepsearch check`: a run's files against the one schema, and what a kill left mended. No HDF5 call is made in the
// caller's process: every file is looked at by a forked child with bounded memory and time, so that whatever libhdf5
// does with a damaged file ends as a line. Call it from a process with one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace deepsearch {

enum class FileState {
  kClosed,   // by its writer
  kLive,     // its writer has it open (store/writer_lock.h); what is flushed is checked
  kKilled,   // marked as being written, and nobody writes
  kDamaged,  // could not be looked at
};

struct FileReport {
  std::filesystem::path path;
  FileState state = FileState::kDamaged;
  std::string contents;               // "412 trees, 20003 nodes, …"; "" when it could not be read
  std::vector<std::string> findings;  // a line each: file, dataset, row, what is wrong, what would be right
  std::string mended;                 // what a repair did; "" when it did nothing
  bool clean() const { return findings.empty(); }
};

struct RunReport {
  std::vector<FileReport> files;      // run.h5 first, then the parts by name
  std::vector<std::string> findings;  // between files
  bool clean() const;
};

// A run's folder. With `repair` files whose writer was killed are written anew without what is not whole, to a
// temporary file that takes the old one's name once it is complete; a file that is being written is left alone.
// Bad input: no such folder, or no run in it.
RunReport check_run(const std::filesystem::path& folder, bool repair);

// One file of a run, run.h5 or a part.
FileReport check_file(const std::filesystem::path& path);

// The same for another process: what `deepsearch check --report FILE` prints.
std::string report_text(const std::filesystem::path& path);

// For ranks of an MPI job, which must not fork to work on: this program (`deepsearch`, no other) is started anew and
// asked for its report_text. Bad input when the file is damaged; what a kill left is no damage.
void require_readable(const std::filesystem::path& path);

}  // namespace deepsearch
