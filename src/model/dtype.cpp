#include "model/dtype.h"

#include <cstring>

#include "core/error.h"

namespace deepsearch {

int64_t bytes_of(DType type) {
  return type == DType::kF32 ? 4 : 2;
}

const char* safetensors_name(DType type) {
  return type == DType::kF32 ? "F32" : type == DType::kF16 ? "F16" : "BF16";
}

const char* torch_name(DType type) {
  return type == DType::kF32 ? "float32" : type == DType::kF16 ? "float16" : "bfloat16";
}

std::optional<DType> dtype_of(std::string_view safetensors_name) {
  if (safetensors_name == "F32") return DType::kF32;
  if (safetensors_name == "F16") return DType::kF16;
  if (safetensors_name == "BF16") return DType::kBF16;
  return std::nullopt;
}

void widen(DType type, const std::byte* data, std::span<float> out) {
  if (out.empty()) return;
  if (type == DType::kF32) {
    std::memcpy(out.data(), data, out.size_bytes());
    return;
  }
  const auto widen_all = [&](auto&& convert) {
    for (size_t i = 0; i < out.size(); ++i) {
      uint16_t bits = 0;
      std::memcpy(&bits, data + i * sizeof(bits), sizeof(bits));
      out[i] = convert(bits);
    }
  };
  if (type == DType::kBF16) {
    widen_all(widen_bf16);
  } else {
    widen_all(widen_f16);
  }
}

}  // namespace deepsearch
