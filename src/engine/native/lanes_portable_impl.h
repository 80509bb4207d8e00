// The 16-lane vector types V (floats) and D (doubles) of plain C++, which compilers turn into what vectors they have.
// Included inside an anonymous namespace by kernels of that instruction set, the engine's and the learner's, after the
// compiler was told the target.
// NOLINTBEGIN(misc-definitions-in-headers): one copy an instruction set

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
  static uint32_t word(float lane) {
    uint32_t bits = 0;
    std::memcpy(&bits, &lane, sizeof(bits));
    return bits;
  }
  // Of lanes that hold two bf16 each, number j.
  static V bf16_of(const V& line, int j) {
    return each([&](int64_t i) {
      const uint32_t bits = word(line.x[i]) >> (16 * j) << 16;
      float value = 0;
      std::memcpy(&value, &bits, sizeof(value));
      return value;
    });
  }
  // Of lanes that hold four int8 each, number j, times 2^24.
  static V int8_of(const V& line, int j) {
    return each([&](int64_t i) { return static_cast<float>(static_cast<int32_t>(word(line.x[i]) >> (8 * j) << 24)); });
  }
  // The first n < 16 lanes; the others 0, and their memory not touched.
  static V load_first(const float* p, int64_t n) {
    return each([&](int64_t i) { return i < n ? p[i] : 0.0F; });
  }
  void store_first(float* p, int64_t n) const { std::memcpy(p, x, static_cast<size_t>(n) * sizeof(float)); }
  static V first(const V& v, int64_t n) {
    return each([&](int64_t i) { return i < n ? v.x[i] : 0.0F; });
  }
  template <class Test>
  static uint32_t bits(Test test) {
    uint32_t mask = 0;
    for (int64_t i = 0; i < kLanes; ++i) mask |= static_cast<uint32_t>(test(i)) << i;
    return mask;
  }
  // Bit i: lane i.
  static uint32_t equal(const V& a, const V& b) {
    return bits([&](int64_t i) { return a.x[i] == b.x[i]; });
  }
  static uint32_t at_least(const V& a, const V& b) {
    return bits([&](int64_t i) { return a.x[i] >= b.x[i]; });
  }
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

// 16 doubles.
struct D {
  double x[kLanes];

  static D zero() { return {}; }
  static D add(D z, const V& v) {
    for (int64_t i = 0; i < kLanes; ++i) z.x[i] += static_cast<double>(v.x[i]);
    return z;
  }
  // Products of floats are exact in double: no fused operation is needed for the same bits.
  static D fma(const V& u, const V& v, D z) {
    for (int64_t i = 0; i < kLanes; ++i) z.x[i] += static_cast<double>(u.x[i]) * static_cast<double>(v.x[i]);
    return z;
  }
  // Lanes i and i + 8, then i and i + 4, i + 2, i + 1.
  double sum() const {
    double lanes[kLanes];
    std::memcpy(lanes, x, sizeof(x));
    for (int64_t width = kLanes / 2; width > 0; width /= 2) {
      for (int64_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    }
    return lanes[0];
  }
};

// NOLINTEND(misc-definitions-in-headers)
