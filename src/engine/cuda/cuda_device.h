// The GPU as a Device. Compiled only with CUDA.
#pragma once

#include <memory>

#include "engine/cuda/device.h"

namespace deepsearch::cuda {

// The device that is current. `overlap`: programmatic dependent launch where the device knows it. bad_input when there
// is none that can be used.
std::unique_ptr<Device> make_cuda_device(DType type, bool overlap);

}  // namespace deepsearch::cuda
