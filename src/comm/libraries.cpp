#include "comm/libraries.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <mpi.h>
#ifdef DEEPSEARCH_HAS_CUDA
#include <nccl.h>
#endif

namespace deepsearch {

std::string communication_libraries() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int size = 0;
  MPI_Get_library_version(text.data(), &size);
  std::string libraries(text.data());
  libraries.resize(std::min(libraries.size(), libraries.find_first_of(",\n")));
#ifdef DEEPSEARCH_HAS_CUDA
  int version = 0;
  if (ncclGetVersion(&version) == ncclSuccess) {
    libraries += fmt::format(", NCCL {}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
  }
#endif
  return libraries;
}

}  // namespace deepsearch
