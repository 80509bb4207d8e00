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

struct Kernels {
  const char* name;
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
