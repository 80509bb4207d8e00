// Paged attention in fp32, on the ordinary cores: the same items, parts and layouts as attention_kernels.cuh, for
// models run in fp32. A warp takes a tile row at a time (split_kv changes nothing here): lanes are tokens for the
// scores and dims for the sum.
#pragma once

#include "engine/cuda/attention_kernels.cuh"
#include "engine/cuda/kernels.h"
#include "engine/cuda/portable.cuh"

namespace deepsearch::DEEPSEARCH_DEVICE {

// One block of 16 tokens: lanes l and l + 16 share token l.
template <int kHead>
DS_DEVICE void attend_block_float(float (&out)[kHead / kWarp], float& largest, float& sum, const float* q,
                                  const float* keys, const float* values, int first_token, int position, float scale) {
  const int token = lane_index() % kKvBlockTokens;
  const int half = lane_index() / kKvBlockTokens * (kHead / 2);
  float score = 0;
  for (int i = 0; i < kHead / 2; ++i) score += q[half + i] * keys[token * kHead + half + i];
  score += shuffle_xor(score, kKvBlockTokens);
  score = first_token + token <= position ? score * scale : kLowest;
  float block_largest = score;
  for (int mask = kKvBlockTokens / 2; mask > 0; mask /= 2) {
    block_largest = fmaxf(block_largest, shuffle_xor(block_largest, mask));
  }
  block_largest = fmaxf(block_largest, largest);
  const float factor = exp2f(largest - block_largest);
  largest = block_largest;
  const float p = score > kLowest ? exp2f(score - largest) : 0.0F;
  float block_sum = p;
  for (int mask = kKvBlockTokens / 2; mask > 0; mask /= 2) block_sum += shuffle_xor(block_sum, mask);
  sum = sum * factor + block_sum;
  for (int j = 0; j < kHead / kWarp; ++j) out[j] *= factor;
  for (int i = 0; i < kKvBlockTokens; ++i) {
    const float weight = shuffle(p, i);
    DS_UNROLL
    for (int j = 0; j < kHead / kWarp; ++j) {
      out[j] += weight * values[(lane_index() + j * kWarp) * kKvBlockTokens + i];
    }
  }
}

template <int kHead>
DS_DEVICE void attend_row_float(const cuda::AttentionArgs& a, const cuda::AttentionItem& item, const TileRow& r,
                                int kv_head) {
  const int width = (a.heads + 2 * a.kv_heads) * kHead;
  const float* q = static_cast<const float*>(a.qkv) + static_cast<int64_t>(r.row) * width + r.head * kHead;
  const int position = a.positions[r.row];
  float out[kHead / kWarp] = {};
  float largest = kLowest;
  float sum = 0;
  for (int i = item.first_block; i < item.last_block && i * kKvBlockTokens <= position; ++i) {
    const int64_t block = static_cast<int64_t>(a.buffer[item.table + i]) * a.kv_heads + kv_head;
    attend_block_float<kHead>(
        out, largest, sum, q, static_cast<const float*>(a.kv.keys) + block * kKvBlockTokens * kHead,
        static_cast<const float*>(a.kv.values) + block * kKvBlockTokens * kHead, i * kKvBlockTokens, position, a.scale);
  }
  const bool whole = a.part_count[r.row] == 1;
  const int64_t slot = static_cast<int64_t>(a.part_first[r.row] + item.part) * a.heads + r.head;
  for (int j = 0; j < kHead / kWarp; ++j) {
    const int dim = lane_index() + j * kWarp;
    if (whole) {
      static_cast<float*>(a.out)[static_cast<int64_t>(r.row) * a.stride + r.head * kHead + dim] = out[j] / sum;
    } else {
      a.partial[slot * kHead + dim] = out[j];
    }
  }
  if (!whole && lane_index() == 0) {
    a.partial_stats[2 * slot] = largest;
    a.partial_stats[2 * slot + 1] = sum;
  }
}

// Blocks of 4 warps take (item, head group) pairs in turn.
template <int kHead>
DS_KERNEL void DS_BOUNDS(kAttentionWarps* kWarp, 2) attention_float_kernel(cuda::AttentionArgs a) {
  wait_for_previous();
  const cuda::HeadGroups& groups = a.groups;
  const int n_items = *a.n_items;
  for (int i = block_index(); i < n_items * groups.n_groups; i += n_blocks()) {
    const cuda::AttentionItem& item = a.items[i / groups.n_groups];
    const int head_group = i % groups.n_groups;
    const int kv_head = head_group / groups.per_kv;
    const int head0 = kv_head * groups.heads_per_kv + head_group % groups.per_kv * groups.group;
    const int rest = (kv_head + 1) * groups.heads_per_kv - head0;
    const int group = groups.group < rest ? groups.group : rest;
    for (int k = warp_index(); k < item.n_rows * group; k += kAttentionWarps) {
      const TileRow r = tile_row(item, k, head0, group);
      if (item.part < a.part_count[r.row]) attend_row_float<kHead>(a, item, r, kv_head);
    }
  }
}

}  // namespace deepsearch::DEEPSEARCH_DEVICE
