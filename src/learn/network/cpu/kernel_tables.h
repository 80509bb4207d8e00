// The tables of kernels, one per instruction set; kernels.cpp picks among them.
#pragma once

#include "learn/network/cpu/kernels.h"

namespace deepsearch::network {

constexpr int64_t kKeyBlock = 64;     // keys that are scored at once
constexpr int64_t kScoreStride = 80;  // floats from row to row of scores
constexpr int64_t kRowStride = 272;   // of queries, their gradients and sums: not a power of two, for the cache's sets

#if defined(__x86_64__)
const Kernels* avx512_kernels();
const Kernels* avx2_kernels();
#endif
const Kernels* portable_kernels();

}  // namespace deepsearch::network
