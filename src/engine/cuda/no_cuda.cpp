// In place of cuda_device.cpp where the CUDA toolkit is absent.
#include "core/error.h"
#include "engine/cuda/cuda_backend.h"

namespace deepsearch {

bool cuda_available() {
  return false;
}

double cuda_bandwidth_gbs() {
  return 0;
}

std::unique_ptr<Backend> make_cuda_backend(const ModelConfig& /*config*/, const CudaOptions& /*options*/) {
  bad_input(
      "the CUDA engine was asked for, but this program was built without CUDA; use the CPU, or build with "
      "-DDEEPSEARCH_CUDA=ON");
}

}  // namespace deepsearch
