#include "engine/native/packed_matrix.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace deepsearch::native {
namespace {

constexpr float kInt8Shift = 1.0F / 16777216.0F;  // kernels see an int8 times 2^24

int64_t lines_of(WeightStorage storage, int64_t k) {
  const int64_t per_lane = storage == WeightStorage::kFp32 ? 1 : storage == WeightStorage::kBf16 ? 2 : 4;
  return (k + per_lane - 1) / per_lane;
}

int64_t values_bytes(WeightStorage storage, int64_t k, int64_t panels) {
  return panels * lines_of(storage, k) * kLanes * 4;
}

// To nearest, ties to even; infinities stay, and a NaN stays one.
uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40U);
  return static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

}  // namespace

PackedMatrix::PackedMatrix(WeightStorage storage, int64_t k, int64_t panels, std::byte* memory)
    : storage_(storage), k_(k), panels_(panels), values_(memory) {
  if (storage == WeightStorage::kInt8) {
    scales_ = reinterpret_cast<float*>(memory + values_bytes(storage, k, panels));
  }
}

int64_t PackedMatrix::bytes(WeightStorage storage, int64_t k, int64_t panels) {
  const int64_t groups = (k + kInt8Group - 1) / kInt8Group;
  const int64_t scales = storage == WeightStorage::kInt8 ? panels * groups * kLanes * 4 : 0;
  return values_bytes(storage, k, panels) + scales;
}

void PackedMatrix::pack(const TensorView& tensor, int64_t rows, int64_t first_column, int64_t panel_step,
                        std::span<float> row) {
  for (int64_t r = 0; r < rows; ++r) {
    tensor.read(r * k_, row.first(static_cast<size_t>(k_)));
    set_column(first_column + r / kLanes * panel_step * kLanes + r % kLanes, row.data());
  }
}

int64_t PackedMatrix::lines() const {
  return lines_of(storage_, k_);
}

template <class Value>
Value* PackedMatrix::at(int64_t column, int64_t i) const {
  constexpr auto kPerLane = static_cast<int64_t>(4 / sizeof(Value));
  const int64_t lane = (column / kLanes * lines() + i / kPerLane) * kLanes + column % kLanes;
  return reinterpret_cast<Value*>(values_ + lane * 4) + i % kPerLane;
}

void PackedMatrix::set_column(int64_t column, const float* values) {
  if (storage_ == WeightStorage::kFp32) {
    for (int64_t i = 0; i < k_; ++i) *at<float>(column, i) = values[i];
  } else if (storage_ == WeightStorage::kBf16) {
    for (int64_t i = 0; i < k_; ++i) *at<uint16_t>(column, i) = to_bf16(values[i]);
  } else {
    set_column_int8(column, values);
  }
}

void PackedMatrix::set_column_int8(int64_t column, const float* values) {
  float* scales = scales_ + column / kLanes * groups() * kLanes + column % kLanes;
  for (int64_t g = 0; g < groups(); ++g) {
    const int64_t first = g * kInt8Group;
    const int64_t last = std::min(k_, first + kInt8Group);
    float largest = 0;
    bool finite = true;
    for (int64_t i = first; i < last; ++i) {
      largest = std::max(largest, std::abs(values[i]));
      finite = finite && std::isfinite(values[i]);
    }
    // Damaged weights stay damaged: the logits will not be finite, which is what run() reports.
    scales[g * kLanes] = finite ? largest / 127.0F * kInt8Shift : std::numeric_limits<float>::quiet_NaN();
    // Below this, scales leave fp32's range; no sum notices such weights.
    const float inverse = finite && largest > 1e-25F ? 127.0F / largest : 0.0F;
    for (int64_t i = first; i < last; ++i) {
      const float steps = finite ? std::nearbyint(values[i] * inverse) : 0.0F;
      *at<int8_t>(column, i) = static_cast<int8_t>(std::clamp(steps, -127.0F, 127.0F));
    }
  }
}

void PackedMatrix::column(int64_t column, float* out) const {
  if (storage_ == WeightStorage::kFp32) {
    for (int64_t i = 0; i < k_; ++i) out[i] = *at<float>(column, i);
  } else if (storage_ == WeightStorage::kBf16) {
    for (int64_t i = 0; i < k_; ++i) {
      out[i] = std::bit_cast<float>(static_cast<uint32_t>(*at<uint16_t>(column, i)) << 16);
    }
  } else {
    const float* scales = scales_ + column / kLanes * groups() * kLanes + column % kLanes;
    for (int64_t i = 0; i < k_; ++i) {
      out[i] = static_cast<float>(*at<int8_t>(column, i)) / kInt8Shift * scales[i / kInt8Group * kLanes];
    }
  }
}

void PackedMatrix::select(int64_t first_panel, int64_t panels, Product& product) const {
  product.k = k_;
  product.w = reinterpret_cast<const float*>(values_) + first_panel * lines() * kLanes;
  product.scales = scales_ == nullptr ? nullptr : scales_ + first_panel * groups() * kLanes;
  product.panels = panels;
}

}  // namespace deepsearch::native
