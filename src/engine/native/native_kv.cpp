#include "engine/native/native_kv.h"

#include <algorithm>

namespace deepsearch::native {

NativeKv::NativeKv(const AttentionShape& shape, int64_t n_layers, int64_t& bytes_in_use)
    : shape_(shape), n_layers_(n_layers), bytes_in_use_(bytes_in_use) {}

NativeKv::~NativeKv() {
  bytes_in_use_ -= buffer_.size() * static_cast<int64_t>(sizeof(float));
}

void NativeKv::resize(int32_t tokens) {
  if (tokens == capacity_) return;
  const int64_t old_capacity = capacity_;
  const int64_t kept = std::min<int64_t>(old_capacity, tokens);
  const int64_t k_rows = n_layers_ * shape_.n_kv_heads * shape_.head_dim;
  const int64_t v_row = shape_.n_kv_heads * shape_.head_dim_padded;
  const AlignedBuffer old = std::move(buffer_);
  const float* old_v = old.data() + k_rows * old_capacity + kLanes;

  capacity_ = tokens;
  buffer_ = tokens == 0 ? AlignedBuffer() : AlignedBuffer(k_rows * capacity_ + kLanes + n_layers_ * v_row * capacity_);
  bytes_in_use_ += (buffer_.size() - old.size()) * static_cast<int64_t>(sizeof(float));
  if (kept == 0) return;
  for (int64_t row = 0; row < k_rows; ++row) {
    std::copy_n(old.data() + row * old_capacity, kept, buffer_.data() + row * capacity_);
  }
  float* v = buffer_.data() + k_rows * capacity_ + kLanes;
  for (int64_t layer = 0; layer < n_layers_; ++layer) {
    std::copy_n(old_v + layer * v_row * old_capacity, kept * v_row, v + layer * v_row * capacity_);
  }
}

void NativeKv::write(int64_t layer, int64_t position, const float* k, const float* v) {
  float* keys = buffer_.data() + layer * k_layer_size() + position;
  for (int64_t i = 0; i < shape_.n_kv_heads * shape_.head_dim; ++i) keys[i * capacity_] = k[i];
  float* values = buffer_.data() + n_layers_ * k_layer_size() + kLanes + layer * v_layer_size() +
                  position * shape_.n_kv_heads * shape_.head_dim_padded;
  for (int64_t h = 0; h < shape_.n_kv_heads; ++h) {
    std::copy_n(v + h * shape_.head_dim, shape_.head_dim, values + h * shape_.head_dim_padded);
  }
}

}  // namespace deepsearch::native
