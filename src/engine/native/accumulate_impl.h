// Chains of fused multiply-adds side by side, what products and scores are made of, over the including file's vector
// type V (kernels_impl.h).
// NOLINTBEGIN(misc-definitions-in-headers,modernize-loop-convert): one copy an instruction set, index loops by register

struct Fp32Values {
  using Value = float;
  static constexpr bool kScaled = false;
  static V load(const float* p) { return V::load(p); }
};
struct Bf16Values {
  using Value = uint16_t;
  static constexpr bool kScaled = false;
  static V load(const uint16_t* p) { return V::load_bf16(p); }
};
struct Int8Values {
  using Value = int8_t;
  static constexpr bool kScaled = true;
  static V load(const int8_t* p) { return V::load_int8(p); }
};

// Panels beside each other in a tile of `rows` rows, so that every chain has a register.
constexpr int64_t tile_panels(int64_t rows) {
  return rows * 4 <= kAccumulators ? 4 : rows * 2 <= kAccumulators ? 2 : 1;
}

// acc[r][p] += a[r][i] · w[p][i], one fma a chain.
template <class W, int kRows, int kPanels>
DEEPSEARCH_INLINE void accumulate_one(const float* a, int64_t a_stride, const typename W::Value* const (&w)[kPanels],
                                      int64_t i, V (&acc)[kRows][kPanels]) {
  V b[kPanels];
  DEEPSEARCH_UNROLL
  for (int p = 0; p < kPanels; ++p) b[p] = W::load(w[p] + i * kLanes);
  DEEPSEARCH_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const V x = V::broadcast(a[r * a_stride + i]);
    DEEPSEARCH_UNROLL
    for (int p = 0; p < kPanels; ++p) acc[r][p] = V::fma(x, b[p], acc[r][p]);
  }
}

// acc[r][p] = fma chain over k in [first, last), from zero. The same chain for every element whatever the tile: only
// how many chains run side by side differs. kFetch: as panel p is read, so much of fetch[p] is asked of memory.
template <class W, int kRows, int kPanels, bool kFetch>
DEEPSEARCH_INLINE void accumulate(const float* a, int64_t a_stride, const typename W::Value* const (&w)[kPanels],
                                  const typename W::Value* const (&fetch)[kPanels], int64_t first, int64_t last,
                                  V (&acc)[kRows][kPanels]) {
  constexpr int64_t kStep = 64 / (static_cast<int64_t>(sizeof(typename W::Value)) * kLanes);  // a cache line
  DEEPSEARCH_UNROLL
  for (int r = 0; r < kRows; ++r) {
    DEEPSEARCH_UNROLL
    for (int p = 0; p < kPanels; ++p) acc[r][p] = V::zero();
  }
  int64_t i = first;
  for (; i + kStep <= last; i += kStep) {
    if constexpr (kFetch) {
      DEEPSEARCH_UNROLL
      for (int p = 0; p < kPanels; ++p) __builtin_prefetch(fetch[p] + i * kLanes);
    }
    DEEPSEARCH_UNROLL
    for (int64_t j = 0; j < kStep; ++j) accumulate_one<W, kRows, kPanels>(a, a_stride, w, i + j, acc);
  }
  for (; i < last; ++i) accumulate_one<W, kRows, kPanels>(a, a_stride, w, i, acc);
}

// NOLINTEND(misc-definitions-in-headers,modernize-loop-convert)
