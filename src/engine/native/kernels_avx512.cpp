// AVX-512F and BW: one register is the 16 lanes.
#if defined(__x86_64__)

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own header leaves registers undefined on purpose and then warns about it (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <cstdint>
#include <immintrin.h>

#include "engine/native/kernel_tables.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx2,fma")
#endif

namespace deepsearch::native {
namespace {

#include "engine/native/lanes_avx512_impl.h"

constexpr int64_t kAccumulators = 24;  // of 32 registers
constexpr int kTileRows = 12;

#include "engine/native/kernels_impl.h"

}  // namespace

const Kernels* avx512_kernels() {
  static constexpr Kernels kTable = table_of("AVX-512");
  return &kTable;
}

}  // namespace deepsearch::native

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
