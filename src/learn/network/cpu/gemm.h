// fp32 matrix products on the CPU, in LibTorch's threads. Results depend neither on the number of threads nor on the
// instruction set.
#pragma once

#include <cstdint>

#include "learn/network/cpu/kernels.h"

namespace deepsearch::network {

// Element (i, j) lies at data + i · row + j · column.
struct ConstMatrix {
  const float* data = nullptr;
  int64_t row = 0, column = 1;  // strides
};

// c[m, n] = plus + a[m, k] · b[k, n]; c's rows are dense, c_stride apart, so are plus's (0: one row for all).
// plus may be c, and may be none.
struct Gemm {
  int64_t m = 0, n = 0, k = 0;
  ConstMatrix a, b;
  float* c = nullptr;
  int64_t c_stride = 0;
  const float* plus = nullptr;
  int64_t plus_stride = 0;
};
void gemm(const Gemm& product, const Kernels& kernels = best_kernels());

}  // namespace deepsearch::network
