#include "comm/gpu.h"

#include <cstddef>

#include <fmt/format.h>

#ifdef DEEPSEARCH_HAS_CUDA
#include <cuda_runtime_api.h>
#include <nccl.h>
#endif

#include "comm/world.h"
#include "core/error.h"

namespace deepsearch {

int gpu_of(const World& world) {
  const int gpus = n_gpus();
  return gpus == 0 ? -1 : world.local_rank() % gpus;
}

#ifdef DEEPSEARCH_HAS_CUDA

namespace {

std::string versions() {
  int nccl = 0;
  if (ncclGetVersion(&nccl) != ncclSuccess) nccl = NCCL_VERSION_CODE;
  return fmt::format("CUDA {}.{}, NCCL {}.{}.{}", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10, nccl / 10000,
                     nccl % 10000 / 100, nccl % 100);
}

}  // namespace

int n_gpus() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

void use_gpu(int gpu) {
  if (gpu < 0) return;
  if (const cudaError_t status = cudaSetDevice(gpu); status != cudaSuccess) {
    failure("GPU {} cannot be used: {}", gpu, cudaGetErrorString(status));
  }
}

std::string gpu_bus_id(int gpu) {
  char text[32] = "";
  if (gpu < 0 || cudaDeviceGetPCIBusId(text, sizeof text, gpu) != cudaSuccess) return "";
  return text;
}

std::string gpu_name() {
  int gpu = 0;
  cudaDeviceProp properties{};
  if (n_gpus() == 0 || cudaGetDevice(&gpu) != cudaSuccess) return "";
  return cudaGetDeviceProperties(&properties, gpu) == cudaSuccess ? properties.name : "";
}

std::string gpu_summary() {
  const int gpus = n_gpus();
  if (gpus == 0) {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    const std::string why = status == cudaSuccess ? "none is visible" : cudaGetErrorString(status);
    return fmt::format("no GPU ({}); {}", why, versions());
  }
  std::string list;
  for (int gpu = 0; gpu < gpus; ++gpu) {
    cudaDeviceProp properties{};
    if (gpu > 0) list += ", ";
    if (const cudaError_t status = cudaGetDeviceProperties(&properties, gpu); status != cudaSuccess) {
      list += fmt::format("GPU {} cannot be asked ({})", gpu, cudaGetErrorString(status));
      continue;
    }
    list += fmt::format("{} ({} GiB, sm_{}{})", properties.name, properties.totalGlobalMem >> 30, properties.major,
                        properties.minor);
  }
  return fmt::format("{} GPU{}: {}; {}", gpus, gpus == 1 ? "" : "s", list, versions());
}

#else

int n_gpus() {
  return 0;
}
void use_gpu(int) {}
std::string gpu_bus_id(int) {
  return "";
}
std::string gpu_name() {
  return "";
}
std::string gpu_summary() {
  return "no GPU (built without CUDA)";
}

#endif

}  // namespace deepsearch
