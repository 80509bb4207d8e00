// The number formats weights are kept in, and their conversion. No LibTorch.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace deepsearch {

// Weights are copied between files and memory as they are.
static_assert(std::endian::native == std::endian::little, "weight files are little-endian");

enum class DType : uint8_t { kF32, kF16, kBF16 };

int64_t bytes_of(DType type);
// As safetensors spells it ("F32") and as config.json does ("float32").
const char* safetensors_name(DType type);
const char* torch_name(DType type);
std::optional<DType> dtype_of(std::string_view safetensors_name);  // nothing for a format that is not one of these

inline float widen_bf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

inline float widen_f16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1FU;
  const uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 0) {  // zero or subnormal: mantissa · 2^−24, exact in fp32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 0x1FU ? 0xFFU : exponent + 112U;  // bias 15 → 127
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

// To the nearest, ties to even, as PyTorch rounds; a NaN stays one.
inline uint16_t narrow_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x0040U);
  return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

// out.size() values of `type` from `data`, which need not be aligned, as fp32; exact.
void widen(DType type, const std::byte* data, std::span<float> out);

}  // namespace deepsearch
