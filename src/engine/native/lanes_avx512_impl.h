// The 16-lane vector types V (floats) and D (doubles) of AVX-512F and BW: one register is the 16 lanes.
// Included inside an anonymous namespace by kernels of that instruction set, the engine's and the learner's, after the
// compiler was told the target.
// NOLINTBEGIN(misc-definitions-in-headers): one copy an instruction set

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
  // Of lanes that hold two bf16 each, number j.
  static V bf16_of(V line, int j) {
    const __m512i words = _mm512_castps_si512(line.x);
    return {_mm512_castsi512_ps(j == 0 ? _mm512_slli_epi32(words, 16)
                                       : _mm512_and_si512(words, _mm512_set1_epi32(-65536)))};
  }
  // Of lanes that hold four int8 each, number j, times 2^24: moved to the lane's highest byte.
  static V int8_of(V line, int j) {
    const int zeros = static_cast<int>(0x00808080U);
    const __m128i lane =
        _mm_setr_epi32(zeros | j << 24, zeros | (4 + j) << 24, zeros | (8 + j) << 24, zeros | (12 + j) << 24);
    return {_mm512_cvtepi32_ps(_mm512_shuffle_epi8(_mm512_castps_si512(line.x), _mm512_broadcast_i32x4(lane)))};
  }
  static __mmask16 mask(int64_t n) { return static_cast<__mmask16>((1U << n) - 1); }
  // The first n < 16 lanes; the others 0, and their memory not touched.
  static V load_first(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(mask(n), p)}; }
  void store_first(float* p, int64_t n) const { _mm512_mask_storeu_ps(p, mask(n), x); }
  static V first(V v, int64_t n) { return {_mm512_maskz_mov_ps(mask(n), v.x)}; }
  // Bit i: lane i.
  static uint32_t equal(V a, V b) { return _mm512_cmp_ps_mask(a.x, b.x, _CMP_EQ_OQ); }
  static uint32_t at_least(V a, V b) { return _mm512_cmp_ps_mask(a.x, b.x, _CMP_GE_OQ); }
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

// 16 doubles.
struct D {
  __m512d a;
  __m512d b;

  static D zero() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
  static D of(V v) {
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v.x), 1));
    return {_mm512_cvtps_pd(_mm512_castps512_ps256(v.x)), _mm512_cvtps_pd(high)};
  }
  static D add(D x, V v) {
    const D y = of(v);
    return {_mm512_add_pd(x.a, y.a), _mm512_add_pd(x.b, y.b)};
  }
  static D fma(V u, V v, D z) {
    const D x = of(u);
    const D y = of(v);
    return {_mm512_fmadd_pd(x.a, y.a, z.a), _mm512_fmadd_pd(x.b, y.b, z.b)};
  }
  // Lanes i and i + 8, then i and i + 4, i + 2, i + 1.
  double sum() const {
    const __m512d eight = _mm512_add_pd(a, b);
    const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
  }
};

// NOLINTEND(misc-definitions-in-headers)
