// AVX-512F: one register is the 16 lanes.
#if defined(__x86_64__)

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own header leaves registers undefined on purpose and then warns about it (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <cstdint>
#include <immintrin.h>

#include "learn/network/cpu/kernel_tables.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
#endif

namespace deepsearch::network {
namespace {

struct V {
  __m512 x;

  static V zero() { return {_mm512_setzero_ps()}; }
  static V broadcast(float v) { return {_mm512_set1_ps(v)}; }
  static V load(const float* p) { return {_mm512_loadu_ps(p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, x); }
  static V add(V a, V b) { return {_mm512_add_ps(a.x, b.x)}; }
  static V sub(V a, V b) { return {_mm512_sub_ps(a.x, b.x)}; }
  static V mul(V a, V b) { return {_mm512_mul_ps(a.x, b.x)}; }
  static V div(V a, V b) { return {_mm512_div_ps(a.x, b.x)}; }
  static V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.x, b.x, c.x)}; }
  static V max(V a, V b) { return {_mm512_max_ps(a.x, b.x)}; }
  static V min(V a, V b) { return {_mm512_min_ps(a.x, b.x)}; }
  // p · 2^n, n in the low bits of t.
  static V add_exponent(V p, V t) {
    const __m512i shifted = _mm512_slli_epi32(_mm512_castps_si512(t.x), 23);
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p.x), shifted))};
  }
  static V zero_where_less(V value, V x, float bound) {
    return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.x, _mm512_set1_ps(bound), _CMP_NLT_UQ), value.x)};
  }
  static __mmask16 mask(int64_t n) { return static_cast<__mmask16>((1U << n) - 1); }
  // The first n < 16 lanes; the others 0, and their memory not touched.
  static V load_first(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(mask(n), p)}; }
  void store_first(float* p, int64_t n) const { _mm512_mask_storeu_ps(p, mask(n), x); }
  // Lanes i and i + 8, then i and i + 4, i + 2, i + 1.
  float sum() const {
    const __m256 low = _mm512_castps512_ps256(x);
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
    const __m256 eight = _mm256_add_ps(low, high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  float maximum() const {
    const __m256 low = _mm512_castps512_ps256(x);
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
    const __m256 eight = _mm256_max_ps(low, high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
};

constexpr int kTileRows = 12;  // with two vectors each: 24 of 32 registers
constexpr int kTileVectors = 2;

#include "learn/network/cpu/kernels_impl.h"

}  // namespace

const Kernels* avx512_kernels() {
  static constexpr Kernels kTable = table_of("AVX-512");
  return &kTable;
}

}  // namespace deepsearch::network

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
