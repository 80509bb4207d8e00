// AVX2 with FMA: two registers are the 16 lanes.
#if defined(__x86_64__)

#include <cstdint>
#include <immintrin.h>

#include "learn/network/cpu/kernel_tables.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace deepsearch::network {
namespace {

#include "engine/native/lanes_avx2_impl.h"

constexpr int kTileRows = 6;  // 12 of 16 registers
constexpr int kTileVectors = 1;

#include "learn/network/cpu/kernels_impl.h"

}  // namespace

const Kernels* avx2_kernels() {
  static constexpr Kernels kTable = table_of("AVX2");
  return &kTable;
}

}  // namespace deepsearch::network

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
