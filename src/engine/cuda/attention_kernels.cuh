// Paged attention for 16-bit types, on tensor cores, straight from KV blocks to registers.
//
// A warp takes 16 tile rows × one KV block of 16 tokens at a time: S = Q·Kᵀ is two 16×8 tiles, O += P·V one for
// every 8 dims. Indices that are summed over may be named as one likes, which lets every load be 16 or 8 bytes of
// consecutive memory and P go from the first product to the second without leaving its lane:
//   dims    a lane takes 8 consecutive dims of its K row (and Q row) for two products
//   tokens  column c of tile j of S is token 4·(c/2) + c%2 + 2·j, so that lane t of a quad has tokens 4t … 4t + 3 of P,
//           which lie together in the transposed V block
// The running maximum is in units of log 2 (the scale holds log2(e)). Sums are rescaled only when a maximum changes,
// which changes no bit: the factor would be 1.
#pragma once

#include "engine/cuda/kernels.h"
#include "engine/cuda/portable.cuh"

namespace deepsearch::DEEPSEARCH_DEVICE {

constexpr int kAttentionWarps = 4;
constexpr float kLowest = -3.0e38F;

// What a lane has of 16 rows: rows g and g + 8, of each 8 dims two.
template <int kHead>
struct WarpRows {
  float out[kHead / 8][4];
  float largest[2];
  float sum[2];
};

// Where a tile row lives.
struct TileRow {
  bool used = false;
  int row = 0;
  int head = 0;
};
DS_DEVICE TileRow tile_row(const cuda::AttentionItem& item, int index, int head0, int group) {
  TileRow r;
  r.used = index < item.n_rows * group;
  r.row = item.first_row + (r.used ? index / group : 0);
  r.head = head0 + (r.used ? index % group : 0);
  return r;
}

template <class T, int kHead>
DS_DEVICE void attend_block(WarpRows<kHead>& w, const Vec16 (&q)[2][kHead / 32], const T* keys, const T* values,
                            int first_token, const int (&positions)[2], float scale) {
  const int g = lane_index() / 4;
  const int t = lane_index() % 4;
  Vec8 v[kHead / 8];
  DS_UNROLL
  for (int n = 0; n < kHead / 8; ++n) v[n] = load<Vec8>(values + (n * 8 + g) * kKvBlockTokens + 4 * t);
  float s[2][4] = {};
  DS_UNROLL
  for (int j = 0; j < 2; ++j) {
    const T* key = keys + static_cast<int64_t>(g / 2 * 4 + g % 2 + 2 * j) * kHead + 8 * t;
    DS_UNROLL
    for (int k = 0; k < kHead / 32; ++k) {
      const Vec16 b = load<Vec16>(key + k * 32);
      multiply(T{}, s[j], q[0][k].word[0], q[1][k].word[0], q[0][k].word[1], q[1][k].word[1], b.word[0], b.word[1]);
      multiply(T{}, s[j], q[0][k].word[2], q[1][k].word[2], q[0][k].word[3], q[1][k].word[3], b.word[2], b.word[3]);
    }
  }
  float p[2][4];  // [row g or g + 8][token 4t + i]
  bool changed = false;
  float factor[2];
  DS_UNROLL
  for (int r = 0; r < 2; ++r) {
    float largest = kLowest;
    DS_UNROLL
    for (int i = 0; i < 4; ++i) {
      const bool seen = first_token + 4 * t + i <= positions[r];
      p[r][i] = seen ? s[i / 2][2 * r + i % 2] * scale : kLowest;
      largest = fmaxf(largest, p[r][i]);
    }
    largest = fmaxf(largest, shuffle_xor(largest, 1));
    largest = fmaxf(largest, shuffle_xor(largest, 2));
    largest = fmaxf(largest, w.largest[r]);
    changed = changed || largest > w.largest[r];
    factor[r] = exp2f(w.largest[r] - largest);
    w.largest[r] = largest;
    float sum = 0;
    DS_UNROLL
    for (int i = 0; i < 4; ++i) {
      p[r][i] = p[r][i] > kLowest ? exp2f(p[r][i] - largest) : 0.0F;
      sum += p[r][i];
    }
    w.sum[r] = w.sum[r] * factor[r] + sum;  // of this lane's tokens; lanes are added up at the end
  }
  if (warp_any(changed)) {
    DS_UNROLL
    for (int n = 0; n < kHead / 8; ++n) {
      DS_UNROLL
      for (int i = 0; i < 4; ++i) w.out[n][i] *= factor[i / 2];
    }
  }
  const uint32_t a0 = pack<T>(p[0][0], p[0][1]);
  const uint32_t a1 = pack<T>(p[1][0], p[1][1]);
  const uint32_t a2 = pack<T>(p[0][2], p[0][3]);
  const uint32_t a3 = pack<T>(p[1][2], p[1][3]);
  DS_UNROLL
  for (int n = 0; n < kHead / 8; ++n) multiply(T{}, w.out[n], a0, a1, a2, a3, v[n].word[0], v[n].word[1]);
}

// Two dims of a finished row, as a part or as the result.
template <class T>
DS_DEVICE void store_part(const cuda::AttentionArgs& a, const cuda::AttentionItem& item, const TileRow& r, int dim,
                          float x, float y, float largest, float sum) {
  if (!r.used || item.part >= a.part_count[r.row]) return;
  if (a.part_count[r.row] == 1) {
    T* out = static_cast<T*>(a.out) + static_cast<int64_t>(r.row) * a.stride + r.head * a.padded_head + dim;
    store(out[0], x / sum);
    store(out[1], y / sum);
    return;
  }
  const int64_t slot = static_cast<int64_t>(a.part_first[r.row] + item.part) * a.heads + r.head;
  a.partial[slot * a.padded_head + dim] = x;
  a.partial[slot * a.padded_head + dim + 1] = y;
  if (dim == 0) {
    a.partial_stats[2 * slot] = largest;
    a.partial_stats[2 * slot + 1] = sum;
  }
}

// The four warps' halves of an item with split_kv, added up in order: 16 rows, 32 dims at a time.
template <class T, int kHead>
DS_DEVICE void join_warps(const cuda::AttentionArgs& a, const cuda::AttentionItem& item, WarpRows<kHead>& w, int head0,
                          int group) {
  constexpr int kDims = 32;
  DS_SHARED float out[kAttentionWarps][16][kDims];
  DS_SHARED float stats[kAttentionWarps][16][2];
  const int g = lane_index() / 4;
  const int t = lane_index() % 4;
  block_barrier();  // the item before may still be read
  for (int r = 0; r < 2; ++r) {
    if (t == 0) stats[warp_index()][g + 8 * r][0] = w.largest[r];
    if (t == 0) stats[warp_index()][g + 8 * r][1] = w.sum[r];
  }
  DS_UNROLL
  for (int d = 0; d < kHead; d += kDims) {
    DS_UNROLL
    for (int n = 0; n < kDims / 8; ++n) {
      DS_UNROLL
      for (int i = 0; i < 4; ++i) out[warp_index()][g + i / 2 * 8][n * 8 + 2 * t + i % 2] = w.out[d / 8 + n][i];
    }
    block_barrier();
    for (int i = thread_index(); i < 16 * kDims / 2; i += n_threads()) {
      const int row = i / (kDims / 2);
      const int dim = i % (kDims / 2) * 2;
      float largest = kLowest;
      for (int k = 0; k < kAttentionWarps; ++k) largest = fmaxf(largest, stats[k][row][0]);
      float x = 0;
      float y = 0;
      float sum = 0;
      for (int k = 0; k < kAttentionWarps; ++k) {
        const float factor = exp2f(stats[k][row][0] - largest);
        x += factor * out[k][row][dim];
        y += factor * out[k][row][dim + 1];
        sum += factor * stats[k][row][1];
      }
      store_part<T>(a, item, tile_row(item, row, head0, group), d + dim, x, y, largest, sum);
    }
    block_barrier();
  }
}

template <class T, int kHead>
DS_DEVICE void attend_item(const cuda::AttentionArgs& a, const cuda::AttentionItem& item, int head_group) {
  const cuda::HeadGroups& groups = a.groups;
  const int kv_head = head_group / groups.per_kv;
  const int head0 = kv_head * groups.heads_per_kv + head_group % groups.per_kv * groups.group;
  const int rest = (kv_head + 1) * groups.heads_per_kv - head0;
  const int group = groups.group < rest ? groups.group : rest;
  const int g = lane_index() / 4;
  const int t = lane_index() % 4;
  const bool split = item.split_kv != 0;
  const int tile0 = split ? 0 : 16 * warp_index();
  const int width = (a.heads + 2 * a.kv_heads) * kHead;

  Vec16 q[2][kHead / 32];
  TileRow rows[2];
  int positions[2];
  DS_UNROLL
  for (int r = 0; r < 2; ++r) {
    rows[r] = tile_row(item, tile0 + g + 8 * r, head0, group);
    positions[r] = rows[r].used ? a.positions[rows[r].row] : -1;
    const T* from = static_cast<const T*>(a.qkv) + static_cast<int64_t>(rows[r].row) * width + rows[r].head * kHead;
    DS_UNROLL
    for (int k = 0; k < kHead / 32; ++k) q[r][k] = load<Vec16>(from + k * 32 + 8 * t);
  }
  WarpRows<kHead> w{};
  w.largest[0] = w.largest[1] = kLowest;
  const bool idle = tile0 >= item.n_rows * group;
  for (int i = item.first_block; i < item.last_block && !idle; ++i) {
    if (split && (i - item.first_block) % kAttentionWarps != warp_index()) continue;
    const int64_t block = static_cast<int64_t>(a.buffer[item.table + i]) * a.kv_heads + kv_head;
    const T* keys = static_cast<const T*>(a.kv.keys) + block * kKvBlockTokens * kHead;
    const T* values = static_cast<const T*>(a.kv.values) + block * kKvBlockTokens * kHead;
    attend_block<T, kHead>(w, q, keys, values, i * kKvBlockTokens, positions, a.scale);
  }
  DS_UNROLL
  for (int r = 0; r < 2; ++r) {
    w.sum[r] += shuffle_xor(w.sum[r], 1);
    w.sum[r] += shuffle_xor(w.sum[r], 2);
  }
  if (split) {
    join_warps<T, kHead>(a, item, w, head0, group);
    return;
  }
  DS_UNROLL
  for (int n = 0; n < kHead / 8; ++n) {
    DS_UNROLL
    for (int r = 0; r < 2; ++r) {
      store_part<T>(a, item, rows[r], n * 8 + 2 * t, w.out[n][2 * r], w.out[n][2 * r + 1], w.largest[r], w.sum[r]);
    }
  }
}

// Blocks of 4 warps take (item, head group) pairs in turn.
template <class T, int kHead>
DS_KERNEL void DS_BOUNDS(kAttentionWarps* kWarp, 2) attention_kernel(cuda::AttentionArgs a) {
  wait_for_previous();
  const int n_groups = a.groups.n_groups;
  const int n_items = *a.n_items;
  for (int i = block_index(); i < n_items * n_groups; i += n_blocks()) {
    attend_item<T, kHead>(a, a.items[i / n_groups], i % n_groups);
  }
}

// Parts → results, in order of position. Blocks (head, row) of 64 threads.
template <class T>
DS_KERNEL void merge_kernel(cuda::AttentionArgs a) {
  wait_for_previous();
  const int row = a.first_row + block_index_y();
  const int head = block_index();
  const int n_parts = a.part_count[row];
  if (n_parts <= 1) return;
  const int64_t first = static_cast<int64_t>(a.part_first[row]) * a.heads + head;
  float largest = kLowest;
  for (int p = 0; p < n_parts; ++p) largest = fmaxf(largest, a.partial_stats[2 * (first + p * a.heads)]);
  for (int i = thread_index(); i < a.padded_head; i += n_threads()) {
    float out = 0;
    float sum = 0;
    for (int p = 0; p < n_parts; ++p) {
      const int64_t slot = first + static_cast<int64_t>(p) * a.heads;
      const float factor = exp2f(a.partial_stats[2 * slot] - largest);
      out += factor * a.partial[slot * a.padded_head + i];
      sum += factor * a.partial_stats[2 * slot + 1];
    }
    store(static_cast<T*>(a.out)[static_cast<int64_t>(row) * a.stride + head * a.padded_head + i], out / sum);
  }
}

}  // namespace deepsearch::DEEPSEARCH_DEVICE
