// CPU kernels of the native backend, fp32, one table of functions per instruction set, chosen once at start.
//
// All of them are row-invariant: a row's result depends on that row's input only, never on how many rows there are,
// where the row stands, how the context is cut into segments or which thread runs it. Each output element of a matrix
// product is one chain of fused multiply-adds over k = 0, 1, 2, …; reductions over positions or channels run in 16
// lanes (index modulo 16) that are added in one fixed order. Every instruction set is written with the same 16 lanes
// and the same fused operations, so the bits do not depend on the CPU's type either.
#pragma once

#include <cstdint>
#include <vector>

namespace deepsearch::native {

constexpr int64_t kLanes = 16;  // floats; matrices are packed in panels of this many output columns

constexpr int64_t round_up(int64_t n, int64_t to) {
  return (n + to - 1) / to * to;
}

// What one segment of a context offers to one layer's attention.
//   k: [kv_heads, head_dim, stride] (positions innermost: 16 scores at a time); reading 15 floats past the end is
//   allowed v: [positions, kv_heads, head_dim_padded]
struct SegmentView {
  const float* k = nullptr;
  const float* v = nullptr;
  int64_t stride = 0;
  int64_t n = 0;  // positions of it to attend to
};

struct AttentionShape {
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t head_dim_padded = 0;  // to kLanes
};

struct Kernels {
  const char* name;

  // c[rows, panels·16] (+)= a[rows, k] · w, with w packed [panels, k, 16]. `add` adds the product to c.
  void (*matmul)(const float* a, int64_t a_stride, int64_t rows, int64_t k, const float* w, int64_t panels, float* c,
                 int64_t c_stride, bool add);

  // out = x / sqrt(mean(x²) + eps) · weight for each row of n values. Rows are padded with zeros to kLanes.
  void (*rms_norm)(const float* x, int64_t stride, int64_t rows, int64_t n, const float* weight, float eps, float* out,
                   int64_t out_stride);

  // Rotates heads of one row in place (Hugging Face's rotate_half): pairs (i, i + head_dim/2); cos and sin hold
  // head_dim/2 values; the result is multiplied by `scale`.
  void (*rope)(float* x, int64_t heads, int64_t head_dim, const float* cos, const float* sin, float scale);

  // out[i] = silu(gate[i]) · up[i]; n is a multiple of kLanes.
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* out);

  // One row: q [n_heads, head_dim] (rotated, scaled) over a chain of segments, positions in order → out [n_heads,
  // head_dim]. scores: scratch of n_heads · (round_up(positions, 16) + 16) floats.
  void (*attention)(const AttentionShape& shape, const float* q, const SegmentView* segments, int64_t n_segments,
                    int64_t positions, float* scores, float* out);

  // out[i] = exp((x[i] − shift) · scale), for arguments ≤ 0 (underflow gives 0); out has room for round_up(n, 16), as
  // has x (values past n are ignored but read).
  void (*exp_shifted)(const float* x, int64_t n, float shift, float scale, float* out);

  // n fused multiply-adds of 16 lanes (32·n operations) in registers, for measuring a core's peak; returns a value of
  // them.
  float (*fma_loop)(int64_t n);
};

// The best table this CPU can run.
const Kernels& best_kernels();
// All tables this CPU can run, best first; the last is the portable one.
std::vector<const Kernels*> runnable_kernels();

}  // namespace deepsearch::native
