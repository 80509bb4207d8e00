// out = x · weightsᵀ for few rows: a pass over the weights at the memory's speed, whatever the number of rows up to 8.
//
// 16-bit types: the weights are the A operand of m16n8k16 and rows of x the n = 8 columns of B, so that one row costs
// the tensor cores as much as eight. Summation indices may be named as one likes: a lane takes 8 consecutive values
// (16 bytes) of its weight row for two products, and the same 8 of its row of x. The 8 warps of a block share k, 32
// at a time in turn; their sums are added in order. None of this depends on the number of rows, which makes a row's
// result independent of the others (the guarantee of RowsGemmArgs).
#pragma once

#include "engine/cuda/kernels.h"
#include "engine/cuda/layer_kernels.cuh"
#include "engine/cuda/portable.cuh"

namespace deepsearch::DEEPSEARCH_DEVICE {

constexpr int kGemmWarps = 8;
constexpr int kGemmThreads = kGemmWarps * kWarp;
constexpr int kTileOutputs = static_cast<int>(cuda::kOutputStep);
constexpr int kStepK = static_cast<int>(cuda::kWidthStep);

// Outputs 16·tile + g (low) and + g + 8 (high) of a row.
template <class T>
DS_DEVICE void finish_outputs(const cuda::RowsGemmArgs& a, int tile, int g, int row, float low, float high) {
  if (row >= a.rows) return;
  const int64_t at = static_cast<int64_t>(row) * a.stride;
  const int n = tile * kTileOutputs + g;
  switch (a.epilogue) {
    case cuda::Epilogue::kStore:
      store(static_cast<T*>(a.out)[at + n], low);
      store(static_cast<T*>(a.out)[at + n + 8], high);
      break;
    case cuda::Epilogue::kStoreFloat:
      static_cast<float*>(a.out)[at + n] = low;
      static_cast<float*>(a.out)[at + n + 8] = high;
      break;
    case cuda::Epilogue::kAddFloat:
      static_cast<float*>(a.out)[at + n] += low;
      static_cast<float*>(a.out)[at + n + 8] += high;
      break;
    case cuda::Epilogue::kSwiGlu:
      store(static_cast<T*>(a.out)[at + tile * 8 + g], silu(low) * high);
      break;
  }
}

// Blocks (16 outputs, kColumns·8 rows).
template <class T, int kColumns>
DS_KERNEL void DS_BOUNDS(kGemmThreads, 1) rows_gemm_kernel(cuda::RowsGemmArgs a) {
  constexpr int kAhead = kColumns <= 2 ? 4 : 2;  // steps whose weights are on their way at a time
  constexpr int kRows = kColumns * 8;
  DS_SHARED float sums[kGemmWarps][kTileOutputs][kRows];
  const int g = lane_index() / 4;
  const int t = lane_index() % 4;
  const int tile = block_index();
  const int row0 = block_index_y() * kRows;
  const T* low_row = static_cast<const T*>(a.weights) + (static_cast<int64_t>(tile) * kTileOutputs + g) * a.k + 8 * t;
  const T* high_row = low_row + static_cast<int64_t>(8) * a.k;
  const T* x = static_cast<const T*>(a.x) + static_cast<int64_t>(row0 + g) * a.k + 8 * t;
  const int n_steps = a.k / kStepK;

  float c[kColumns][4] = {};
  Vec16 low[kAhead];
  Vec16 high[kAhead];
  const auto fetch = [&](int first) {
    DS_UNROLL
    for (int j = 0; j < kAhead; ++j) {
      const int step = first + j * kGemmWarps;
      low[j] = high[j] = Vec16{};
      if (step >= n_steps) continue;
      low[j] = load_streaming(low_row + step * kStepK);
      high[j] = load_streaming(high_row + step * kStepK);
    }
  };
  fetch(warp_index());  // weights do not depend on the kernel before: only x does
  wait_for_previous();
  for (int first = warp_index(); first < n_steps; first += kAhead * kGemmWarps) {
    if (first != warp_index()) fetch(first);
    DS_UNROLL
    for (int j = 0; j < kAhead; ++j) {
      const int step = first + j * kGemmWarps;
      if (step >= n_steps) break;
      DS_UNROLL
      for (int n = 0; n < kColumns; ++n) {
        const Vec16 b = load<Vec16>(x + static_cast<int64_t>(n) * 8 * a.k + step * kStepK);
        multiply(T{}, c[n], low[j].word[0], high[j].word[0], low[j].word[1], high[j].word[1], b.word[0], b.word[1]);
        multiply(T{}, c[n], low[j].word[2], high[j].word[2], low[j].word[3], high[j].word[3], b.word[2], b.word[3]);
      }
    }
  }
  DS_UNROLL
  for (int n = 0; n < kColumns; ++n) {
    DS_UNROLL
    for (int i = 0; i < 4; ++i) sums[warp_index()][g + i / 2 * 8][n * 8 + 2 * t + i % 2] = c[n][i];
  }
  block_barrier();
  for (int i = thread_index(); i < 8 * kRows; i += kGemmThreads) {
    const int output = i % 8;
    const int row = i / 8;
    float sum_low = 0;
    float sum_high = 0;
    for (int w = 0; w < kGemmWarps; ++w) {
      sum_low += sums[w][output][row];
      sum_high += sums[w][output + 8][row];
    }
    finish_outputs<T>(a, tile, output, row0 + row, sum_low, sum_high);
  }
}

// fp32, without tensor cores: warp w of a block has outputs w and w + 8 of the 16, its lanes share k.
template <class T>
DS_KERNEL void DS_BOUNDS(kGemmThreads, 1) rows_gemm_float_kernel(cuda::RowsGemmArgs a) {
  constexpr int kRows = 8;
  wait_for_previous();
  const int tile = block_index();
  const int row0 = block_index_y() * kRows;
  const float* low =
      static_cast<const float*>(a.weights) + (static_cast<int64_t>(tile) * kTileOutputs + warp_index()) * a.k;
  const float* high = low + static_cast<int64_t>(8) * a.k;
  const float* x = static_cast<const float*>(a.x) + static_cast<int64_t>(row0) * a.k;
  float sum_low[kRows] = {};
  float sum_high[kRows] = {};
  for (int k = lane_index(); k < a.k; k += kWarp) {
    const float w_low = low[k];
    const float w_high = high[k];
    DS_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const float v = x[static_cast<int64_t>(r) * a.k + k];
      sum_low[r] += w_low * v;
      sum_high[r] += w_high * v;
    }
  }
  DS_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const float y_low = warp_sum(sum_low[r]);
    const float y_high = warp_sum(sum_high[r]);
    if (lane_index() == r) finish_outputs<T>(a, tile, warp_index(), row0 + r, y_low, y_high);
  }
}

}  // namespace deepsearch::DEEPSEARCH_DEVICE
