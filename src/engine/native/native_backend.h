// The decoder on the CPU in fp32. Row-invariant: the logits and the KV of a token are the same bits whatever else is in
// the pass, whether it was prefilled or decoded, on any number of threads (native/kernels.h says why).
#pragma once

#include <cstdint>
#include <memory>

#include "engine/backend.h"
#include "engine/native/kernels.h"

namespace deepsearch {

std::unique_ptr<Backend> make_native_backend(const ModelConfig& config, int64_t threads,
                                             const native::Kernels& kernels = native::best_kernels());

}  // namespace deepsearch
