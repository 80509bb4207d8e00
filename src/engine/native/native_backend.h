// The decoder on the CPU, with fp32 arithmetic. Row-invariant: the logits and the KV of a token are the same bits
// whatever else is in the pass, whether it was prefilled or decoded, in whatever chunks, on any number of threads and
// any processor (native/kernels.h says why).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/backend.h"
#include "engine/native/kernels.h"

namespace deepsearch {

// "fp32", "bf16", "int8"; bad_input for another name.
native::WeightStorage weight_storage_of(const std::string& name);
const char* name_of(native::WeightStorage storage);

// threads ≥ 1, the caller's included. `weights`: how weight matrices and embeddings are kept; norms, biases, KV and
// all sums are fp32.
std::unique_ptr<Backend> make_native_backend(const ModelConfig& config, int64_t threads,
                                             native::WeightStorage weights = native::WeightStorage::kFp32,
                                             const native::Kernels& kernels = native::best_kernels());

}  // namespace deepsearch
