// Work on files that may be damaged, in a forked child with bounded memory and CPU time: whatever libhdf5 does with
// them, the caller lives. Call it from a process with one thread and without MPI.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/error.h"

namespace deepsearch {

// The child did not come to its end: "WHAT: HDF5 crashed on it (signal 11): damaged, restore it from a copy".
class CrashedApart : public Error {
 public:
  using Error::Error;
};

// The text that `work` returns; what it prints is printed. An error it throws is thrown here, with its exit code; more
// memory than `file_bytes` explain is bad input. `what` begins such lines. Ctrl-C or a closed pipe that ended the child
// ends this process in the same way.
std::string run_apart(const std::string& what, uint64_t file_bytes, const std::function<std::string()>& work);

}  // namespace deepsearch
