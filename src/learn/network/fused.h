// The decoder's element-wise parts as single autograd nodes: fewer passes over memory, and no zero-filled gradients of
// slices. Each has a plain ATen form (any device, any dtype), which is the definition, and loops for fp32 on the CPU;
// tests/model compares the two. Threads: LibTorch's own; results do not depend on how many.
//
// Measured (hidden 64, 3 layers, 256 rows of 60 tokens, one core): forward and backward take 3.0 s of CPU time for six
// steps, start of the program included, against 3.4 s with plain ATen operations.
#pragma once

#include <ATen/core/Tensor.h>

namespace deepsearch {

// x · weight / sqrt(mean(x²) + eps) over the last dimension. x [..., n], weight [n].
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// silu(left half) · right half of the last dimension. x [..., 2n] → [..., n].
at::Tensor gated_silu(const at::Tensor& x);

struct QueryKeyValue {
  at::Tensor q;  // [B, n_heads, T, head_dim], turned
  at::Tensor k;  // [B, n_kv_heads, T, head_dim], turned
  at::Tensor v;  // [B, n_kv_heads, T, head_dim]
};
// Splits joined heads [B, T, n_heads + 2·n_kv_heads, head_dim] and turns queries and keys (Llama's rotate_half) by the
// angles whose cosines and sines are given, [B or 1, T, 1, head_dim/2].
QueryKeyValue split_and_rotate(const at::Tensor& joined, int64_t n_heads, int64_t n_kv_heads, const at::Tensor& cosines,
                               const at::Tensor& sines);

}  // namespace deepsearch
