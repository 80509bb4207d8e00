#include "engine/native/packed_matrix.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace deepsearch::native {
namespace {

int64_t value_bytes(WeightStorage storage) {
  return storage == WeightStorage::kFp32 ? 4 : storage == WeightStorage::kBf16 ? 2 : 1;
}

int64_t values_bytes(WeightStorage storage, int64_t k, int64_t panels) {
  return round_up(panels * k * kLanes * value_bytes(storage), 64);
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

void PackedMatrix::set_column(int64_t column, const float* values) {
  const int64_t base = column / kLanes * k_ * kLanes + column % kLanes;
  if (storage_ == WeightStorage::kFp32) {
    float* to = reinterpret_cast<float*>(values_) + base;
    for (int64_t i = 0; i < k_; ++i) to[i * kLanes] = values[i];
  } else if (storage_ == WeightStorage::kBf16) {
    auto* to = reinterpret_cast<uint16_t*>(values_) + base;
    for (int64_t i = 0; i < k_; ++i) to[i * kLanes] = to_bf16(values[i]);
  } else {
    set_column_int8(column, values);
  }
}

void PackedMatrix::set_column_int8(int64_t column, const float* values) {
  auto* to = reinterpret_cast<int8_t*>(values_) + column / kLanes * k_ * kLanes + column % kLanes;
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
    scales[g * kLanes] = finite ? largest / 127.0F : std::numeric_limits<float>::quiet_NaN();
    // Below this the inverse leaves fp32's range; nobody sees such weights.
    const float inverse = finite && largest > 1e-30F ? 127.0F / largest : 0.0F;
    for (int64_t i = first; i < last; ++i) {
      const float steps = finite ? std::nearbyint(values[i] * inverse) : 0.0F;
      to[i * kLanes] = static_cast<int8_t>(std::clamp(steps, -127.0F, 127.0F));
    }
  }
}

void PackedMatrix::column(int64_t column, float* out) const {
  const int64_t base = column / kLanes * k_ * kLanes + column % kLanes;
  if (storage_ == WeightStorage::kFp32) {
    const float* from = reinterpret_cast<const float*>(values_) + base;
    for (int64_t i = 0; i < k_; ++i) out[i] = from[i * kLanes];
  } else if (storage_ == WeightStorage::kBf16) {
    const auto* from = reinterpret_cast<const uint16_t*>(values_) + base;
    for (int64_t i = 0; i < k_; ++i) out[i] = std::bit_cast<float>(static_cast<uint32_t>(from[i * kLanes]) << 16);
  } else {
    const auto* from = reinterpret_cast<const int8_t*>(values_) + base;
    const float* scales = scales_ + column / kLanes * groups() * kLanes + column % kLanes;
    for (int64_t i = 0; i < k_; ++i) {
      out[i] = static_cast<float>(from[i * kLanes]) * scales[i / kInt8Group * kLanes];
    }
  }
}

void PackedMatrix::select(int64_t first_panel, int64_t panels, Product& product) const {
  product.k = k_;
  product.w = values_ + first_panel * k_ * kLanes * value_bytes(storage_);
  product.scales = scales_ == nullptr ? nullptr : scales_ + first_panel * groups() * kLanes;
  product.panels = panels;
}

}  // namespace deepsearch::native
