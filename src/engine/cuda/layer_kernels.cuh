// The kernels around the matrix products: embedding, RMSNorm, SwiGLU, and weights put in place.
#pragma once

#include "engine/cuda/kernels.h"
#include "engine/cuda/portable.cuh"

namespace deepsearch::DEEPSEARCH_DEVICE {

// A block a row.
template <class T>
DS_KERNEL void embed_kernel(cuda::EmbedArgs a) {
  wait_for_previous();
  const int row = block_index();
  const T* from = static_cast<const T*>(a.table) + static_cast<int64_t>(a.tokens[row]) * a.padded;
  float* to = a.x + static_cast<int64_t>(row) * a.padded;
  for (int i = thread_index(); i < a.padded; i += n_threads()) to[i] = to_float(from[i]);
}

// A block a row. The row is read twice; the second time it is in L1.
template <class T>
DS_KERNEL void norm_kernel(cuda::NormArgs a) {
  DS_SHARED float scratch[kWarp];
  wait_for_previous();
  const int row = a.row_of != nullptr ? a.row_of[block_index()] : block_index();
  float* x = a.x + static_cast<int64_t>(row) * a.padded;
  T* out = static_cast<T*>(a.out) + static_cast<int64_t>(block_index()) * a.padded;
  float squares = 0;
  for (int i = thread_index(); i < a.width; i += n_threads()) {
    if (a.add != nullptr) x[i] += a.add[i];
    squares += x[i] * x[i];
  }
  const float scale = 1.0F / sqrtf(block_sum(squares, scratch) / static_cast<float>(a.width) + a.eps);
  for (int i = thread_index(); i < a.padded; i += n_threads()) {
    store(out[i], i < a.width ? x[i] * scale * a.gain[i] : 0.0F);
  }
}

DS_DEVICE float silu(float x) {
  return x / (1.0F + expf(-x));
}

// Blocks (x, row).
template <class T>
DS_KERNEL void swiglu_kernel(cuda::SwiGluArgs a) {
  wait_for_previous();
  const int row = block_index_y();
  const int i = block_index() * n_threads() + thread_index();
  if (i >= a.padded) return;
  const T* gate = static_cast<const T*>(a.gate_up) + static_cast<int64_t>(row) * 2 * a.padded + i / 8 * 16 + i % 8;
  store(static_cast<T*>(a.out)[static_cast<int64_t>(row) * a.padded + i], silu(to_float(gate[0])) * to_float(gate[8]));
}

DS_DEVICE float read_value(const void* from, DType type, int64_t i) {
  if (type == DType::kF32) return static_cast<const float*>(from)[i];
  if (type == DType::kF16) return to_float(static_cast<const Fp16*>(from)[i]);
  return to_float(static_cast<const Bf16*>(from)[i]);
}

// A block a row.
template <class T>
DS_KERNEL void place_kernel(cuda::PlaceArgs a) {
  wait_for_previous();
  const int64_t row = a.source_row + block_index();
  const int64_t to_row = a.first_row + row / a.run * a.run_stride + row % a.run;
  for (int64_t c = thread_index(); c < a.columns; c += n_threads()) {
    const float value = read_value(a.from, a.type, block_index() * a.columns + c);
    const int64_t to = to_row * a.to_columns + c / a.column_run * a.column_stride + c % a.column_run;
    if (a.to_float) {
      static_cast<float*>(a.to)[to] = value;
    } else {
      store(static_cast<T*>(a.to)[to], value);
    }
  }
}

}  // namespace deepsearch::DEEPSEARCH_DEVICE
