// Plain C++: 16 floats. On machines whose base instruction set has fused multiply-add (aarch64) the compiler vectorises
// it; on an x86 without FMA it is right but slow.
#include <cstdint>
#include <cstring>

#include "learn/network/cpu/kernel_tables.h"

namespace deepsearch::network {
namespace {

struct V {
  float x[kLanes];

  template <class Op>
  static V each(Op op) {
    V v;
    for (int64_t i = 0; i < kLanes; ++i) v.x[i] = op(i);
    return v;
  }
  static V zero() { return broadcast(0.0F); }
  static V broadcast(float value) {
    return each([&](int64_t) { return value; });
  }
  static V load(const float* p) {
    return each([&](int64_t i) { return p[i]; });
  }
  void store(float* p) const { std::memcpy(p, x, sizeof(x)); }
  static V add(const V& a, const V& b) {
    return each([&](int64_t i) { return a.x[i] + b.x[i]; });
  }
  static V sub(const V& a, const V& b) {
    return each([&](int64_t i) { return a.x[i] - b.x[i]; });
  }
  static V mul(const V& a, const V& b) {
    return each([&](int64_t i) { return a.x[i] * b.x[i]; });
  }
  static V div(const V& a, const V& b) {
    return each([&](int64_t i) { return a.x[i] / b.x[i]; });
  }
  static V fma(const V& a, const V& b, const V& c) {
    return each([&](int64_t i) { return __builtin_fmaf(a.x[i], b.x[i], c.x[i]); });
  }
  static V max(const V& a, const V& b) {
    return each([&](int64_t i) { return a.x[i] > b.x[i] ? a.x[i] : b.x[i]; });
  }
  static V min(const V& a, const V& b) {
    return each([&](int64_t i) { return a.x[i] < b.x[i] ? a.x[i] : b.x[i]; });
  }
  // p · 2^n, n in the low bits of t.
  static V add_exponent(const V& p, const V& t) {
    return each([&](int64_t i) {
      uint32_t value = 0;
      uint32_t exponent = 0;
      std::memcpy(&value, &p.x[i], sizeof(value));
      std::memcpy(&exponent, &t.x[i], sizeof(exponent));
      value += exponent << 23;
      float result = 0;
      std::memcpy(&result, &value, sizeof(result));
      return result;
    });
  }
  static V zero_where_less(const V& value, const V& x, float bound) {
    return each([&](int64_t i) { return x.x[i] < bound ? 0.0F : value.x[i]; });
  }
  // The first n < 16 lanes; the others 0, and their memory not touched.
  static V load_first(const float* p, int64_t n) {
    return each([&](int64_t i) { return i < n ? p[i] : 0.0F; });
  }
  void store_first(float* p, int64_t n) const { std::memcpy(p, x, static_cast<size_t>(n) * sizeof(float)); }
  // Lanes i and i + 8, then i and i + 4, i + 2, i + 1.
  template <class Op>
  float fold(Op op) const {
    float lanes[kLanes];
    store(lanes);
    for (int64_t width = kLanes / 2; width > 0; width /= 2) {
      for (int64_t i = 0; i < width; ++i) lanes[i] = op(lanes[i], lanes[i + width]);
    }
    return lanes[0];
  }
  float sum() const {
    return fold([](float a, float b) { return a + b; });
  }
  float maximum() const {
    return fold([](float a, float b) { return a > b ? a : b; });
  }
};

constexpr int kTileRows = 4;
constexpr int kTileVectors = 1;

#include "learn/network/cpu/kernels_impl.h"

}  // namespace

const Kernels* portable_kernels() {
  static constexpr Kernels kTable = table_of("portable");
  return &kTable;
}

}  // namespace deepsearch::network
