// KV of one segment in the layout the CPU attention reads (native/kernels.h, SegmentView).
#pragma once

#include <cstdint>

#include "engine/backend.h"
#include "engine/native/aligned_buffer.h"
#include "engine/native/kernels.h"

namespace deepsearch::native {

class NativeKv : public KvStore {
 public:
  // `bytes_in_use` is kept up to date; it outlives the store.
  NativeKv(const AttentionShape& shape, int64_t n_layers, int64_t& bytes_in_use);
  ~NativeKv() override;
  NativeKv(const NativeKv&) = delete;
  NativeKv& operator=(const NativeKv&) = delete;

  void resize(int32_t tokens) override;
  int32_t capacity() const override { return static_cast<int32_t>(capacity_); }

  SegmentView view(int64_t layer, int64_t n) const {
    return {.k = buffer_.data() + layer * k_layer_size(),
            .v = v_base() + layer * v_layer_size(),
            .stride = capacity_,
            .n = n};
  }
  // k, v: [n_kv_heads, head_dim] of one token.
  void write(int64_t layer, int64_t position, const float* k, const float* v);

 private:
  int64_t k_layer_size() const { return shape_.n_kv_heads * shape_.head_dim * capacity_; }
  int64_t v_layer_size() const { return shape_.n_kv_heads * shape_.head_dim_padded * capacity_; }
  // 16 floats lie between K and V: attention may read past the end of K.
  const float* v_base() const { return buffer_.data() + n_layers_ * k_layer_size() + kLanes; }

  AttentionShape shape_;
  int64_t n_layers_;
  int64_t& bytes_in_use_;
  int64_t capacity_ = 0;
  AlignedBuffer
      buffer_;  // K of all layers [layers, kv_heads, head_dim, capacity], gap, V [layers, capacity, kv_heads, padded]
};

}  // namespace deepsearch::native
