// The libraries that messages and collectives go through, for a run's provenance.
#pragma once

#include <string>

namespace deepsearch {

// "Open MPI v4.1.4, NCCL 2.18.5"; without NCCL where it is not built in. Any thread, also before MPI_Init.
std::string communication_libraries();

}  // namespace deepsearch
