// A Device whose kernels run in the emulation. Memory is the host's, fenced and filled with a pattern where nothing was
// written; a capture records the launches with the arguments they had, as CUDA does.
#pragma once

#include <memory>

#include "engine/cuda/device.h"

namespace deepsearch::testing {

std::unique_ptr<cuda::Device> make_emulated_device(DType type);

}  // namespace deepsearch::testing
