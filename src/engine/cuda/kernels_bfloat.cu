#include "engine/cuda/portable.cuh"
// First: what kernels are written in.
#include "engine/cuda/cuda_launch.cuh"
#include "engine/cuda/typed_kernels.cuh"

namespace deepsearch::cuda {

std::unique_ptr<Kernels> make_kernels_bfloat(CudaStream& stream) {
  return std::make_unique<on_gpu::TypedKernels<on_gpu::Bf16, CudaStream>>(stream);
}

}  // namespace deepsearch::cuda
