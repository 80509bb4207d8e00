// How the processes were started, read from the environment: finds the start in which every process believes to be a
// world of its own (an MPI program started by a launcher that does not speak its MPI's protocol).
#pragma once

#include <functional>
#include <string>

namespace deepsearch {

// Value of an environment variable, or null. Tests pass their own.
using Environment = std::function<const char*(const char*)>;

// "" when `mpi_size` processes agrees with what the launcher says; otherwise what is wrong and the right command line.
std::string launch_mismatch(int mpi_size, const Environment& environment);

}  // namespace deepsearch
