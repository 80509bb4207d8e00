// Kernels (kernels.h) for one type: how each kernel is launched. launch(stream, grid, threads, kernel, args) is CUDA's
// or the emulation's; this file is read once for each (type, device).
#pragma once

#include "engine/cuda/attention_float_kernels.cuh"
#include "engine/cuda/attention_kernels.cuh"
#include "engine/cuda/kernels.h"
#include "engine/cuda/layer_kernels.cuh"
#include "engine/cuda/qkv_kernels.cuh"
#include "engine/cuda/rows_gemm_kernels.cuh"
#include "engine/cuda/sampler_kernels.cuh"

namespace deepsearch::DEEPSEARCH_DEVICE {

constexpr int kRowThreads = 256;

template <class T, class Stream>
class TypedKernels final : public cuda::Kernels {
 public:
  // sample_threads: a block's, for the sampler; the most unless a test wants less.
  explicit TypedKernels(Stream& stream, int sample_threads = kSampleThreads)
      : stream_(stream), sample_threads_(sample_threads) {}

  void embed(const cuda::EmbedArgs& a) override { launch(stream_, {a.rows, 1}, kRowThreads, embed_kernel<T>, a); }
  void norm(const cuda::NormArgs& a) override { launch(stream_, {a.rows, 1}, kRowThreads, norm_kernel<T>, a); }
  void swiglu(const cuda::SwiGluArgs& a) override {
    launch(stream_, {(a.padded + kRowThreads - 1) / kRowThreads, a.rows}, kRowThreads, swiglu_kernel<T>, a);
  }
  void rows_gemm(const cuda::RowsGemmArgs& a) override {
    if constexpr (sizeof(T) == 4) {
      launch_rows(a, 8, rows_gemm_float_kernel<T>);
    } else if (a.rows <= 8) {
      launch_rows(a, 8, rows_gemm_kernel<T, 1>);
    } else if (a.rows <= 16) {
      launch_rows(a, 16, rows_gemm_kernel<T, 2>);
    } else {
      launch_rows(a, 32, rows_gemm_kernel<T, 4>);
    }
  }
  void qkv(const cuda::QkvArgs& a) override {
    const int heads = a.heads + 2 * a.kv_heads;
    launch(stream_, {(heads + 3) / 4, a.rows}, 4 * kWarp, qkv_kernel<T>, a);
  }
  void attention(const cuda::AttentionArgs& a) override {
    if (a.padded_head == 64) launch_attention<64>(a);
    if (a.padded_head == 96) launch_attention<96>(a);
    if (a.padded_head == 128) launch_attention<128>(a);
  }
  void merge(const cuda::AttentionArgs& a) override {
    launch(stream_, {a.heads, a.rows}, 2 * kWarp, merge_kernel<T>, a);
  }
  void copy_blocks(const cuda::CopyArgs& a) override {
    launch(stream_, {2 * a.layers, a.n_copies}, kRowThreads, copy_blocks_kernel<T>, a);
  }
  void sample(const cuda::SampleArgs& a) override {
    launch(stream_, {a.grid, 1}, sample_threads_, sample_kernel<T>, a);
  }
  void place(const cuda::PlaceArgs& a) override {
    launch(stream_, {static_cast<int>(a.rows), 1}, 4 * kWarp, place_kernel<T>, a);
  }

 private:
  template <class Kernel>
  void launch_rows(const cuda::RowsGemmArgs& a, int rows, Kernel kernel) {
    launch(stream_, {a.n / kTileOutputs, (a.rows + rows - 1) / rows}, kGemmThreads, kernel, a);
  }
  template <int kHead>
  void launch_attention(const cuda::AttentionArgs& a) {
    if constexpr (sizeof(T) == 4) {
      launch(stream_, {a.grid, 1}, kAttentionWarps * kWarp, attention_float_kernel<kHead>, a);
    } else {
      launch(stream_, {a.grid, 1}, kAttentionWarps * kWarp, attention_kernel<T, kHead>, a);
    }
  }

  Stream& stream_;
  int sample_threads_;
};

}  // namespace deepsearch::DEEPSEARCH_DEVICE
