// The 16-lane vector types V (floats) and D (doubles) of AVX2 and FMA: two registers are the 16 lanes.
// Included inside an anonymous namespace by kernels of that instruction set, the engine's and the learner's, after the
// compiler was told the target.
// NOLINTBEGIN(misc-definitions-in-headers): one copy an instruction set

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
  static __m256 bf16_of(__m256 line, int j) {
    const __m256i words = _mm256_castps_si256(line);
    return _mm256_castsi256_ps(j == 0 ? _mm256_slli_epi32(words, 16)
                                      : _mm256_and_si256(words, _mm256_set1_epi32(-65536)));
  }
  // Of lanes that hold two bf16 each, number j.
  static V bf16_of(V line, int j) { return {bf16_of(line.a, j), bf16_of(line.b, j)}; }
  static __m256 int8_of(__m256 line, int j) {
    const int zeros = static_cast<int>(0x00808080U);
    const __m128i lane =
        _mm_setr_epi32(zeros | j << 24, zeros | (4 + j) << 24, zeros | (8 + j) << 24, zeros | (12 + j) << 24);
    return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(_mm256_castps_si256(line), _mm256_broadcastsi128_si256(lane)));
  }
  // Of lanes that hold four int8 each, number j, times 2^24: moved to the lane's highest byte.
  static V int8_of(V line, int j) { return {int8_of(line.a, j), int8_of(line.b, j)}; }
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
  static V first(V v, int64_t n) {
    return {_mm256_and_ps(v.a, _mm256_castsi256_ps(mask(n))), _mm256_and_ps(v.b, _mm256_castsi256_ps(mask(n - 8)))};
  }
  static uint32_t bits(__m256 low, __m256 high) {
    return static_cast<uint32_t>(_mm256_movemask_ps(low)) | static_cast<uint32_t>(_mm256_movemask_ps(high)) << 8;
  }
  // Bit i: lane i.
  static uint32_t equal(V x, V y) {
    return bits(_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ));
  }
  static uint32_t at_least(V x, V y) {
    return bits(_mm256_cmp_ps(x.a, y.a, _CMP_GE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_GE_OQ));
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

// 16 doubles.
struct D {
  __m256d x[4];

  static D zero() { return {{_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()}}; }
  static D of(V v) {
    return {{_mm256_cvtps_pd(_mm256_castps256_ps128(v.a)), _mm256_cvtps_pd(_mm256_extractf128_ps(v.a, 1)),
             _mm256_cvtps_pd(_mm256_castps256_ps128(v.b)), _mm256_cvtps_pd(_mm256_extractf128_ps(v.b, 1))}};
  }
  static D add(D z, V v) {
    const D y = of(v);
    for (int i = 0; i < 4; ++i) z.x[i] = _mm256_add_pd(z.x[i], y.x[i]);
    return z;
  }
  static D fma(V u, V v, D z) {
    const D x = of(u);
    const D y = of(v);
    for (int i = 0; i < 4; ++i) z.x[i] = _mm256_fmadd_pd(x.x[i], y.x[i], z.x[i]);
    return z;
  }
  // Lanes i and i + 8, then i and i + 4, i + 2, i + 1.
  double sum() const {
    const __m256d four = _mm256_add_pd(_mm256_add_pd(x[0], x[2]), _mm256_add_pd(x[1], x[3]));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
  }
};

// NOLINTEND(misc-definitions-in-headers)
