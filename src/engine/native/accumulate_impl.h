// Chains of fused multiply-adds side by side, what products and scores are made of, over the including file's vector
// type V (kernels_impl.h).
// NOLINTBEGIN(misc-definitions-in-headers,modernize-loop-convert): one copy an instruction set, index loops by register

// How a line of 16 lanes, as it lies in memory, gives the numbers of kPerLane consecutive k.
struct Fp32Values {
  static constexpr int64_t kPerLane = 1;
  static constexpr bool kScaled = false;
  static V of(V line, int) { return line; }
};
struct Bf16Values {
  static constexpr int64_t kPerLane = 2;
  static constexpr bool kScaled = false;
  static V of(V line, int j) { return V::bf16_of(line, j); }
};
struct Int8Values {
  static constexpr int64_t kPerLane = 4;
  static constexpr bool kScaled = true;
  static V of(V line, int j) { return V::int8_of(line, j); }
};

// Panels beside each other in a tile of `rows` rows, so that every chain has a register.
constexpr int64_t tile_panels(int64_t rows) {
  return rows * 4 <= kAccumulators ? 4 : rows * 2 <= kAccumulators ? 2 : 1;
}

// acc[r][p] += a[r][i] · number j of line p, one fma a chain.
template <class W, int kRows, int kPanels>
DEEPSEARCH_INLINE void accumulate_one(const float* a, int64_t a_stride, int64_t i, const V (&line)[kPanels], int j,
                                      V (&acc)[kRows][kPanels]) {
  V b[kPanels];
  DEEPSEARCH_UNROLL
  for (int p = 0; p < kPanels; ++p) b[p] = W::of(line[p], j);
  DEEPSEARCH_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const V x = V::broadcast(a[r * a_stride + i]);
    DEEPSEARCH_UNROLL
    for (int p = 0; p < kPanels; ++p) acc[r][p] = V::fma(x, b[p], acc[r][p]);
  }
}

// Rows from which a tile takes longer to compute than to get.
constexpr int kTallRows = 6;

template <int kRows, int kPanels>
DEEPSEARCH_INLINE void clear(V (&acc)[kRows][kPanels]) {
  DEEPSEARCH_UNROLL
  for (int r = 0; r < kRows; ++r) {
    DEEPSEARCH_UNROLL
    for (int p = 0; p < kPanels; ++p) acc[r][p] = V::zero();
  }
}

// Goes on with the chains acc[r][p] over k in [first, last), first at the start of a line. The same chain for every
// element whatever the tile: only how many chains run side by side differs. kFetch: as panel p is read, the same place
// of fetch[p] is asked of memory, and, in a tall tile, of `later`.
template <class W, int kRows, int kPanels, bool kFetch>
DEEPSEARCH_INLINE void accumulate(const float* a, int64_t a_stride, const float* const (&w)[kPanels],
                                  const float* const (&fetch)[kPanels], const float* later, int64_t first, int64_t last,
                                  V (&acc)[kRows][kPanels]) {
  V line[kPanels];
  int64_t i = first;
  int64_t at = first / W::kPerLane * kLanes;
  for (; i + W::kPerLane <= last; i += W::kPerLane, at += kLanes) {
    DEEPSEARCH_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      line[p] = V::load(w[p] + at);
      if constexpr (kFetch) __builtin_prefetch(fetch[p] + at);
    }
    if constexpr (kFetch && kRows >= kTallRows) __builtin_prefetch(later + at, 0, 2);
    DEEPSEARCH_UNROLL
    for (int j = 0; j < W::kPerLane; ++j) accumulate_one<W, kRows, kPanels>(a, a_stride, i + j, line, j, acc);
  }
  if constexpr (W::kPerLane > 1) {
    if (i == last) return;
    DEEPSEARCH_UNROLL
    for (int p = 0; p < kPanels; ++p) line[p] = V::load(w[p] + at);
    DEEPSEARCH_UNROLL
    for (int j = 0; j + 1 < W::kPerLane; ++j) {
      if (i + j < last) accumulate_one<W, kRows, kPanels>(a, a_stride, i + j, line, j, acc);
    }
  }
}

// NOLINTEND(misc-definitions-in-headers,modernize-loop-convert)
