// AVX2 with FMA: two registers are the 16 lanes.
#if defined(__x86_64__)

#include <cstdint>
#include <immintrin.h>

#include "learn/network/cpu/kernel_tables.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace deepsearch::network {
namespace {

struct V {
  __m256 a;
  __m256 b;

  static V zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static V broadcast(float v) { return {_mm256_set1_ps(v), _mm256_set1_ps(v)}; }
  static V load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  void store(float* p) const {
    _mm256_storeu_ps(p, a);
    _mm256_storeu_ps(p + 8, b);
  }
  static V add(V x, V y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  static V sub(V x, V y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
  static V mul(V x, V y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  static V div(V x, V y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
  static V fma(V x, V y, V z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
  static V max(V x, V y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
  static V min(V x, V y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
  static __m256 add_exponent_half(__m256 p, __m256 t) {
    const __m256i shifted = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), shifted));
  }
  // p · 2^n, n in the low bits of t.
  static V add_exponent(V p, V t) { return {add_exponent_half(p.a, t.a), add_exponent_half(p.b, t.b)}; }
  static V zero_where_less(V value, V x, float bound) {
    const __m256 limit = _mm256_set1_ps(bound);
    return {_mm256_and_ps(_mm256_cmp_ps(x.a, limit, _CMP_NLT_UQ), value.a),
            _mm256_and_ps(_mm256_cmp_ps(x.b, limit, _CMP_NLT_UQ), value.b)};
  }
  // All bits of lanes below n, which counts from the register's first lane.
  static __m256i mask(int64_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
  }
  // The first n < 16 lanes; the others 0, and their memory not touched.
  static V load_first(const float* p, int64_t n) {
    return {_mm256_maskload_ps(p, mask(n)), _mm256_maskload_ps(p + 8, mask(n - 8))};
  }
  void store_first(float* p, int64_t n) const {
    _mm256_maskstore_ps(p, mask(n), a);
    _mm256_maskstore_ps(p + 8, mask(n - 8), b);
  }
  // Lanes i and i + 8, then i and i + 4, i + 2, i + 1.
  float sum() const {
    const __m256 eight = _mm256_add_ps(a, b);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  float maximum() const {
    const __m256 eight = _mm256_max_ps(a, b);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
};

constexpr int kTileRows = 6;  // 12 of 16 registers
constexpr int kTileVectors = 1;

#include "learn/network/cpu/kernels_impl.h"

}  // namespace

const Kernels* avx2_kernels() {
  static constexpr Kernels kTable = table_of("AVX2");
  return &kTable;
}

}  // namespace deepsearch::network

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
