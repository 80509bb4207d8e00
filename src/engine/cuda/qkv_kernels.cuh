// Between the joined q, k, v projection and attention: bias, head norm, rotation, and the way into the KV blocks.
#pragma once

#include "engine/cuda/kernels.h"
#include "engine/cuda/portable.cuh"

namespace deepsearch::DEEPSEARCH_DEVICE {

constexpr int kMaxHead = 128;

// Bias, then RMSNorm over the head where there is a gain, then the rotation, on one head held by a warp: lane l has
// dims l, l + 32, … of the first half in `low`, those of the second half in `high`.
template <class T>
DS_DEVICE void turn_head(const cuda::QkvArgs& a, const T* head, const float* bias, const float* gain, int position,
                         float (&low)[kMaxHead / 2 / kWarp], float (&high)[kMaxHead / 2 / kWarp]) {
  const int half = a.head_dim / 2;
  float squares = 0;
  DS_UNROLL
  for (int j = 0; j < kMaxHead / 2 / kWarp; ++j) {
    const int i = lane_index() + j * kWarp;
    low[j] = high[j] = 0;
    if (i >= half) continue;
    low[j] = to_float(head[i]) + (bias != nullptr ? bias[i] : 0.0F);
    high[j] = to_float(head[i + half]) + (bias != nullptr ? bias[i + half] : 0.0F);
    squares += low[j] * low[j] + high[j] * high[j];
  }
  float scale = 1;
  if (gain != nullptr) scale = 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(a.head_dim) + a.eps);
  DS_UNROLL
  for (int j = 0; j < kMaxHead / 2 / kWarp; ++j) {
    const int i = lane_index() + j * kWarp;
    if (i >= half) continue;
    const float x = low[j] * (gain != nullptr ? scale * gain[i] : 1.0F);
    const float y = high[j] * (gain != nullptr ? scale * gain[i + half] : 1.0F);
    const float cosine = a.cosines[static_cast<int64_t>(position) * half + i];
    const float sine = a.sines[static_cast<int64_t>(position) * half + i];
    low[j] = x * cosine - y * sine;
    high[j] = y * cosine + x * sine;
  }
}

// Blocks (x, row) of 4 warps; a warp a head.
template <class T>
DS_KERNEL void qkv_kernel(cuda::QkvArgs a) {
  wait_for_previous();
  const int row = block_index_y();
  const int n_heads = a.heads + 2 * a.kv_heads;
  const int h = block_index() * (n_threads() / kWarp) + warp_index();
  if (h >= n_heads) return;
  T* head = static_cast<T*>(a.qkv) + (static_cast<int64_t>(row) * n_heads + h) * a.padded_head;
  const float* bias = a.bias != nullptr ? a.bias + static_cast<int64_t>(h) * a.padded_head : nullptr;
  const int64_t block = a.slots[row] / kKvBlockTokens;
  const int slot = a.slots[row] % kKvBlockTokens;
  if (h >= a.heads + a.kv_heads) {
    const int64_t kv_head = block * a.kv_heads + (h - a.heads - a.kv_heads);
    T* to = static_cast<T*>(a.kv.values) + kv_head * a.padded_head * kKvBlockTokens + slot;
    for (int i = lane_index(); i < a.head_dim; i += kWarp) {
      store(to[i * kKvBlockTokens], to_float(head[i]) + (bias != nullptr ? bias[i] : 0.0F));
    }
    return;
  }
  float low[kMaxHead / 2 / kWarp];
  float high[kMaxHead / 2 / kWarp];
  const bool is_key = h >= a.heads;
  turn_head(a, head, bias, is_key ? a.k_gain : a.q_gain, a.positions[row], low, high);
  T* to = head;
  if (is_key) {
    to = static_cast<T*>(a.kv.keys) +
         ((block * a.kv_heads + (h - a.heads)) * kKvBlockTokens + slot) * static_cast<int64_t>(a.padded_head);
  }
  const int half = a.head_dim / 2;
  DS_UNROLL
  for (int j = 0; j < kMaxHead / 2 / kWarp; ++j) {
    const int i = lane_index() + j * kWarp;
    if (i >= half) continue;
    store(to[i], low[j]);
    store(to[i + half], high[j]);
  }
}

// Blocks (2·layer + (keys or values), copy).
template <class T>
DS_KERNEL void copy_blocks_kernel(cuda::CopyArgs a) {
  wait_for_previous();
  const cuda::CopyArgs& args = a;
  const BlockCopy copy = args.copies[block_index_y()];
  const bool values = block_index() % 2 != 0;
  const int64_t block_values = static_cast<int64_t>(a.kv_heads) * a.padded_head * kKvBlockTokens;
  T* pool = static_cast<T*>(a.pool) + block_index() * a.n_blocks * block_values;
  const T* from = pool + copy.from * block_values;
  T* to = pool + copy.to * block_values;
  for (int64_t i = thread_index(); i < block_values; i += n_threads()) {
    const int64_t slot = values ? i % kKvBlockTokens : i / a.padded_head % kKvBlockTokens;
    if (slot < copy.n_slots) to[i] = from[i];
  }
}

}  // namespace deepsearch::DEEPSEARCH_DEVICE
