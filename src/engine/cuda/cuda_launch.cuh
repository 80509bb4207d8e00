// launch() of typed_kernels.cuh by the CUDA runtime.
#pragma once

#include <array>

#include <cuda_runtime.h>

#include "engine/cuda/cuda_kernels.h"

namespace deepsearch::on_gpu {

struct Grid {
  int x = 1;
  int y = 1;
};

// Defined in cuda_device.cpp: failure() with the CUDA error's text.
void check_launch(cudaError_t status);

template <class Args>
void launch(cuda::CudaStream& stream, Grid grid, int threads, void (*kernel)(Args), const Args& args) {
  if (grid.x == 0 || grid.y == 0) return;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream.stream;
  std::array<cudaLaunchAttribute, 1> attributes{};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  config.attrs = attributes.data();
  config.numAttrs = stream.dependent && stream.after_kernel ? 1 : 0;
  check_launch(cudaLaunchKernelEx(&config, kernel, args));
  stream.after_kernel = true;
}

}  // namespace deepsearch::on_gpu
