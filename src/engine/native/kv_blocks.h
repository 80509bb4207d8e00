// The KV blocks of the native backend, in the layout its attention reads. Of one block and layer:
//   K [kv_heads, head_dim, 16 slots], so that one vector holds 16 positions' numbers
//   V [kv_heads, 16 slots, head_dim padded to 16], zeros in the padding
// A block's layers lie next to each other. Memory is touched only as blocks are written.
#pragma once

#include <cstdint>

#include "engine/native/kernels.h"
#include "engine/native/memory.h"
#include "engine/pass.h"
#include "model/model_config.h"

namespace deepsearch::native {

class KvBlocks {
 public:
  explicit KvBlocks(const ModelConfig& config);

  int64_t block_bytes() const { return block_floats_ * static_cast<int64_t>(sizeof(float)); }
  void reserve(int64_t n);
  void release();
  int64_t count() const { return count_; }

  // Blocks of one layer and kv head, for a table.
  BlockView keys(int64_t layer, int64_t head, const BlockId* table) const {
    return {pages_base() + layer * layer_floats_ + head * k_floats_, block_floats_, table, 0};
  }
  BlockView values(int64_t layer, int64_t head, const BlockId* table) const {
    return {pages_base() + layer * layer_floats_ + kv_heads_ * k_floats_ + head * v_floats_, block_floats_, table, 0};
  }
  // All keys and values of a layer, for blocks to be named.
  FetchList layer_of_blocks(int64_t layer) const {
    return {.base = pages_base() + layer * layer_floats_, .stride = block_floats_, .lines = layer_floats_ / kLanes};
  }
  // k and v of one token: [kv_heads, head_dim].
  void write(int64_t layer, BlockId block, int64_t slot, const float* k, const float* v);
  void copy(int64_t layer, const BlockCopy& copy);

 private:
  float* pages_base() const { return reinterpret_cast<float*>(pages_.data()); }

  int64_t kv_heads_;
  int64_t head_dim_;
  int64_t padded_;
  int64_t k_floats_;  // a head's keys in a block and layer; v_floats_ its values
  int64_t v_floats_;
  int64_t layer_floats_;
  int64_t block_floats_;
  int64_t count_ = 0;
  Pages pages_;
};

}  // namespace deepsearch::native
