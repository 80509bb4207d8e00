// fp32 kernels of the network on the CPU: attention over the path of a tree's segment, forward and backward, one table
// of functions an instruction set. Pure: no LibTorch, no threads, no allocation.
//
// Results depend on the arguments only: sums over keys, queries and channels run in one fixed order. Every instruction
// set is written with the same 16 lanes and the same fused operations, so all give the same bits.
#pragma once

#include <cstdint>
#include <vector>

namespace deepsearch::network {

constexpr int64_t kLanes = 16;
constexpr int64_t kTileQueries = 48;  // rows (token, head of the group) of a query tile, at most
constexpr int64_t kMaxHeadDim = 256;

constexpr int64_t round_up(int64_t n, int64_t to) {
  return (n + to - 1) / to * to;
}

// Keys and values of a segment's path for one kv head, packed: token p of the path is lane p % 16 of block p / 16 of
// the transposed ones, row p of the others. Rows are head_dim rounded up to kLanes, with zeros. Lanes of the last block
// that hold no token hold any finite number.
struct PackedPath {
  float* keys_across = nullptr;    // [blocks, head_dim, 16]
  float* values = nullptr;         // [tokens, padded head_dim]; forward only
  float* keys = nullptr;           // [tokens, padded head_dim]; backward only
  float* values_across = nullptr;  // [blocks, head_dim, 16]; backward only
};

// Consecutive tokens' heads: head h of token t at data + t · token + h · head, head_dim floats.
struct Heads {
  float* data = nullptr;
  int64_t token = 0, head = 0;  // strides
};
struct ConstHeads {
  const float* data = nullptr;
  int64_t token = 0, head = 0;
};

// Some consecutive queries of one segment and the group of heads that share a kv head.
struct QueryTile {
  int64_t tokens = 0, group = 0;  // tokens · group ≤ max(kTileQueries, group)
  int64_t before = 0;             // query i sees the path's tokens 0 … before + i
  int64_t head_dim = 0;
  float scale = 1;
  PackedPath path;
  ConstHeads q;
  float* lse = nullptr;  // log Σ exp(scores) of token t, head h: lse[t · lse_token + h]; written forward, read backward
  int64_t lse_token = 0;
};
struct ForwardTile {
  QueryTile tile;
  Heads out;
};
struct BackwardTile {
  QueryTile tile;
  ConstHeads out, dout;
  Heads dq;                       // written
  Heads dk, dv;                   // of the kv head, added to: token p of the path at data + rows[p] · token
  const int32_t* rows = nullptr;  // of each token of the path
};

// c[rows, columns] = plus + a · b of packed operands, over n (k of a block).
struct PanelBlock {
  const float* a = nullptr;  // pack_rows; or plain rows of n, a_step apart
  int64_t a_step = 0;        // 0: packed
  const float* b = nullptr;  // pack_columns
  int64_t rows = 0, columns = 0, n = 0;
  float* c = nullptr;
  int64_t c_stride = 0;
  const float* plus = nullptr;  // or none; may be c
  int64_t plus_stride = 0;      // 0: the same row for all
};

struct Kernels {
  const char* name;
  int64_t tile_rows, tile_columns;  // what pack_rows and pack_columns fill up to

  // [tiles, n, tile_rows]: a(row, k) lies at a + row · row_step + k · k_step.
  void (*pack_rows)(const float* a, int64_t row_step, int64_t k_step, int64_t rows, int64_t n, float* to);
  // [panels, n, tile_columns]: b(k, column) lies at b + k · k_step + column · column_step.
  void (*pack_columns)(const float* b, int64_t k_step, int64_t column_step, int64_t n, int64_t columns, float* to);
  void (*multiply_panels)(const PanelBlock& block);

  // Token `position` of the path from its key and its value.
  void (*pack_forward)(const float* key, const float* value, int64_t head_dim, int64_t position,
                       const PackedPath& path);
  void (*pack_backward)(const float* key, const float* value, int64_t head_dim, int64_t position,
                        const PackedPath& path);
  // `work`: attention_work(rows) floats, aligned to 64 bytes.
  void (*attend_forward)(const ForwardTile& tile, float* work);
  void (*attend_backward)(const BackwardTile& tile, float* work);
};

// Floats of work space for tiles of up to `rows` rows.
int64_t attention_work(int64_t rows);

// The best table this CPU can run.
const Kernels& best_kernels();
// All tables this CPU can run, best first; the last is the portable one.
std::vector<const Kernels*> runnable_kernels();

}  // namespace deepsearch::network
