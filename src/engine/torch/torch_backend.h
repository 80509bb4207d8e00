// The decoder by LibTorch, on any device it knows. KV lies in one pool of token slots on the device; a segment owns
// slots, a path is a list of slots, so a shared prefix is stored once. fp32. Not row-invariant: the libraries below
// choose their kernels by shape, so that logits of a sequence may differ in the last bits between batches.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/backend.h"

namespace deepsearch {

// device: "cpu", "cuda" or "cuda:1". threads: LibTorch's CPU threads within an operation (a setting of the process).
std::unique_ptr<Backend> make_torch_backend(const ModelConfig& config, const std::string& device, int64_t threads);

// True when LibTorch was linked with CUDA and the driver shows this process a GPU.
bool torch_cuda_available();

}  // namespace deepsearch
