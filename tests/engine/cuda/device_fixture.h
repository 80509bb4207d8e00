// Tests that run the same on the emulation and, where there is one, on the GPU: TEST_P over (device, type).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "core/rng.h"
#include "engine/cuda/cuda_backend.h"
#include "engine/cuda/device.h"
#include "engine/cuda/emulated_device.h"
#include "engine/cuda/emulation.h"
#ifdef DEEPSEARCH_HAS_CUDA
#include "engine/cuda/cuda_device.h"
#endif

namespace deepsearch::testing {

enum class Where { kEmulation, kGpu };

inline std::unique_ptr<cuda::Device> make_device(Where where, [[maybe_unused]] DType type) {
#ifdef DEEPSEARCH_HAS_CUDA
  if (where == Where::kGpu) return cuda::make_cuda_device(type, true);
#endif
  if (where == Where::kGpu) throw std::logic_error("no GPU");
  return make_emulated_device(type);
}

inline float round_to(DType type, float value) {
  if (type == DType::kF16) return emulation::half_to_float(emulation::float_to_half(value));
  if (type == DType::kF32) return value;
  const uint32_t bits = uint32_t{emulation::float_to_bfloat(value)} << 16U;
  float rounded = 0;
  std::memcpy(&rounded, &bits, sizeof rounded);
  return rounded;
}

// Half a unit in the last place, relative.
inline double rounding_of(DType type) {
  if (type == DType::kF32) return std::ldexp(1.0, -24);
  return std::ldexp(1.0, type == DType::kF16 ? -11 : -8);
}

// Values as they lie in memory for `type`.
inline std::vector<std::byte> encode(DType type, const std::vector<float>& values) {
  const auto width = type == DType::kF32 ? sizeof(float) : sizeof(uint16_t);
  std::vector<std::byte> bytes(values.size() * width);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half =
        type == DType::kF16 ? emulation::float_to_half(values[i]) : emulation::float_to_bfloat(values[i]);
    std::memcpy(bytes.data() + i * width, type == DType::kF32 ? static_cast<const void*>(&values[i]) : &half, width);
  }
  return bytes;
}
inline std::vector<float> decode(DType type, const std::vector<std::byte>& bytes) {
  if (type == DType::kF32) {
    std::vector<float> values(bytes.size() / 4);
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  std::vector<float> values(bytes.size() / 2);
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half = 0;
    std::memcpy(&half, bytes.data() + 2 * i, 2);
    const uint32_t wide = uint32_t{half} << 16U;
    if (type == DType::kF16) {
      values[i] = emulation::half_to_float(half);
    } else {
      std::memcpy(&values[i], &wide, 4);
    }
  }
  return values;
}

// Numbers of a test, reproducible: about normal, of the given size.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : seed_(seed) {}
  double uniform() {
    seed_ += 0x9e3779b97f4a7c15U;
    uint64_t x = seed_;
    x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
    return std::ldexp(static_cast<double>((x ^ (x >> 31U)) >> 11U), -53);
  }
  int below(int n) { return static_cast<int>(uniform() * n); }
  float normal() { return static_cast<float>((uniform() + uniform() + uniform() + uniform() - 2) * std::sqrt(3.0)); }
  std::vector<float> normals(size_t n, float scale, DType type = DType::kF32) {
    std::vector<float> values(n);
    for (float& v : values) v = round_to(type, scale * normal());
    return values;
  }

 private:
  uint64_t seed_;
};

class DeviceTest : public ::testing::TestWithParam<std::tuple<Where, DType>> {
 protected:
  void SetUp() override {
    if (std::get<0>(GetParam()) == Where::kGpu && !cuda_available()) GTEST_SKIP() << "no GPU";
    device_ = make_device(std::get<0>(GetParam()), type());
  }
  static DType type() { return std::get<1>(GetParam()); }

  cuda::DeviceArray upload(const void* from, size_t bytes) {
    cuda::DeviceArray array(*device_, static_cast<int64_t>(std::max<size_t>(bytes, 16)), "a test", "nothing");
    const cuda::PinnedArray host(*device_, static_cast<int64_t>(std::max<size_t>(bytes, 16)), "a test");
    if (bytes > 0) std::memcpy(host.data(), from, bytes);
    device_->upload(array.data(), host.data(), static_cast<int64_t>(bytes));
    device_->synchronize();
    return array;
  }
  template <class V>
  cuda::DeviceArray upload(const std::vector<V>& values) {
    return upload(values.data(), values.size() * sizeof(V));
  }
  // In the kernels' type.
  cuda::DeviceArray upload_typed(const std::vector<float>& values) { return upload(encode(type(), values)); }

  template <class V>
  std::vector<V> download(const void* from, size_t n) {
    const cuda::PinnedArray host(*device_, static_cast<int64_t>(n * sizeof(V)), "a test");
    device_->download(host.data(), from, static_cast<int64_t>(n * sizeof(V)));
    device_->synchronize();
    std::vector<V> values(n);
    std::memcpy(values.data(), host.data(), n * sizeof(V));
    return values;
  }
  std::vector<float> download_typed(const void* from, size_t n) {
    return decode(type(), download<std::byte>(from, n * (type() == DType::kF32 ? 4 : 2)));
  }

  std::unique_ptr<cuda::Device> device_;
};

inline std::string case_name(const ::testing::TestParamInfo<std::tuple<Where, DType>>& info) {
  const auto [where, type] = info.param;
  const std::string name = type == DType::kF32 ? "fp32" : (type == DType::kF16 ? "fp16" : "bf16");
  return (where == Where::kGpu ? "gpu_" : "emulated_") + name;
}

inline auto all_cases() {
  return ::testing::Combine(::testing::Values(Where::kEmulation, Where::kGpu),
                            ::testing::Values(DType::kF32, DType::kF16, DType::kBF16));
}

}  // namespace deepsearch::testing
