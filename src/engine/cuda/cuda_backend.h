// The backend for NVIDIA GPUs: paged, grouped attention, our own kernels around cuBLASLt, decode steps as CUDA graphs.
// docs/gpu.md tells how. It does not use LibTorch. One instance uses the device that is current when it is made
// (comm/gpu.h chooses it); one thread owns it.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/backend.h"
#include "model/model_config.h"
#include "model/weights.h"

namespace deepsearch {

struct CudaOptions {
  DType dtype = DType::kBF16;  // of weights, activations and KV; sums are fp32
  // A row's result depends on its sequence alone, bit for bit: not on the rest of the pass, nor on how its tokens were
  // divided into passes. Slower for long prompts.
  bool deterministic = false;
  int64_t max_rows = 1024;  // tokens of a pass that workspace is made for at once; a larger pass makes it grow
  bool graphs = true;       // decode steps are captured and replayed
  bool overlap = true;      // a kernel may start while the one before ends (sm_90 on)
};

// A device that can be used is there, and this program was built for it.
bool cuda_available();

// What the current device's memory moves, in 1e9 bytes a second: a copy within it, read and written; the best of some.
// 0 without a device.
double cuda_bandwidth_gbs();

// bad_input when there is no such device, the model's heads are larger than the kernels know, or memory does not
// suffice for weights and workspace.
std::unique_ptr<Backend> make_cuda_backend(const ModelConfig& config, const CudaOptions& options);

namespace cuda {

class Device;
// The same over a given device, which it takes: for the tests' emulation.
std::unique_ptr<Backend> make_backend(std::unique_ptr<Device> device, const ModelConfig& config,
                                      const CudaOptions& options);

}  // namespace cuda
}  // namespace deepsearch
