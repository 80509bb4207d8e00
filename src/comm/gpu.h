// The GPUs this process sees. Compiled with and without CUDA; without it there are none.
#pragma once

#include <string>

namespace deepsearch {

class World;

int n_gpus();  // visible to this process; 0 without a driver or when built without CUDA

// "2 GPUs: NVIDIA H100 80GB HBM3 (79 GiB, sm_90), …; CUDA 13.0, NCCL 2.28.9", or why there is none.
std::string gpu_summary();

// "NVIDIA H100 80GB HBM3": the GPU that use_gpu() chose; "" without one.
std::string gpu_name();

// The GPU this rank uses: its place among the ranks of its host, modulo the GPUs it sees; −1 when it sees none. A
// launcher that shows each rank one GPU of its own gives 0 everywhere.
int gpu_of(const World& world);

// Makes it the one that LibTorch's plain "cuda" means in this process; nothing to do for −1. Failure: the CUDA error.
void use_gpu(int gpu);

// Names a GPU on its host whatever number it has in a process: "0000:3b:00.0". "" when `gpu` is −1 or cannot be asked.
std::string gpu_bus_id(int gpu);

}  // namespace deepsearch
