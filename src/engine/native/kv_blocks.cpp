#include "engine/native/kv_blocks.h"

#include <algorithm>

#include "core/error.h"

namespace deepsearch::native {

static_assert(kKvBlockTokens == kLanes, "a block's keys are one vector wide");

KvBlocks::KvBlocks(const ModelConfig& config)
    : kv_heads_(config.n_kv_heads),
      head_dim_(config.head_dim),
      padded_(round_up(config.head_dim, kLanes)),
      k_floats_(head_dim_ * kLanes),
      v_floats_(padded_ * kLanes),
      layer_floats_(kv_heads_ * (k_floats_ + v_floats_)),
      block_floats_(config.n_layers * layer_floats_) {}

void KvBlocks::reserve(int64_t n) {
  if (count_ != 0) failure("engine: KV blocks are reserved already");
  if (n < 1) failure("engine: {} KV blocks; at least 1", n);
  pages_ = Pages(n * block_bytes());
  count_ = n;
}

void KvBlocks::release() {
  pages_ = Pages();
  count_ = 0;
}

void KvBlocks::write(int64_t layer, BlockId block, int64_t slot, const float* k, const float* v) {
  float* keys = pages_base() + block * block_floats_ + layer * layer_floats_;
  float* values = keys + kv_heads_ * k_floats_ + slot * padded_;
  keys += slot;
  for (int64_t i = 0; i < kv_heads_ * head_dim_; ++i) keys[i * kLanes] = k[i];
  for (int64_t h = 0; h < kv_heads_; ++h) std::copy_n(v + h * head_dim_, head_dim_, values + h * v_floats_);
}

void KvBlocks::copy(int64_t layer, const BlockCopy& copy) {
  const float* from = pages_base() + copy.from * block_floats_ + layer * layer_floats_;
  float* to = pages_base() + copy.to * block_floats_ + layer * layer_floats_;
  for (int64_t i = 0; i < kv_heads_ * head_dim_; ++i) std::copy_n(from + i * kLanes, copy.n_slots, to + i * kLanes);
  from += kv_heads_ * k_floats_;
  to += kv_heads_ * k_floats_;
  for (int64_t h = 0; h < kv_heads_; ++h) {
    std::copy_n(from + h * v_floats_, copy.n_slots * padded_, to + h * v_floats_);
  }
}

}  // namespace deepsearch::native
