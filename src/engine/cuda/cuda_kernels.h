// The kernels as nvcc compiles them: one file a type, so that they build side by side.
#pragma once

#include <driver_types.h>
#include <memory>

#include "engine/cuda/kernels.h"

namespace deepsearch::cuda {

// Where launches go. `dependent`: a kernel may be made ready while the one before it ends (sm_90 on).
struct CudaStream {
  cudaStream_t stream = nullptr;
  bool dependent = false;
  bool after_kernel = false;  // the last thing on the stream was one of our kernels
};

std::unique_ptr<Kernels> make_kernels_float(CudaStream& stream);
std::unique_ptr<Kernels> make_kernels_half(CudaStream& stream);
std::unique_ptr<Kernels> make_kernels_bfloat(CudaStream& stream);

}  // namespace deepsearch::cuda
