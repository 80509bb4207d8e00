// Matrix products, over the including file's vector type V (kernels_impl.h).
// NOLINTBEGIN(misc-definitions-in-headers,modernize-loop-convert): one copy an instruction set, index loops by register

DEEPSEARCH_INLINE void finish(const Product& job, int64_t row, int64_t panel, V value) {
  if (job.output == Output::kSwiglu) {
    float* c = job.c + row * job.c_stride + panel / 2 * kLanes;
    // The gate waits in c for its partner, the next panel.
    if (panel % 2 == 0) {
      value.store(c);
    } else {
      const V gate = V::load(c);
      const V e = exp_lanes(V::sub(V::zero(), gate));
      V::mul(V::div(gate, V::add(V::broadcast(1.0F), e)), value).store(c);
    }
    return;
  }
  float* c = job.c + row * job.c_stride + panel * kLanes;
  if (job.bias != nullptr) value = V::add(value, V::load(job.bias + panel * kLanes));
  if (job.output == Output::kAdd) value = V::add(V::load(c), value);
  value.store(c);
}

// How far ahead of its use a panel is asked of memory: a few hundred cycles. Lines of several numbers take longer.
template <class W>
constexpr int64_t kLinesAhead = W::kPerLane > 2 ? 32 : 16;

// A tile's panels, and where each of them continues in time: after its own last line comes the first of the next tile.
template <class W, int kPanels>
struct TilePanels {
  DEEPSEARCH_INLINE TilePanels(const Product& job, int64_t panel) {
    lines = (job.k + W::kPerLane - 1) / W::kPerLane;
    turn = lines > kLinesAhead<W> ? (lines - kLinesAhead<W>)*W::kPerLane : 0;
    DEEPSEARCH_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      at[p] = job.w + (panel + p) * lines * kLanes;
      own[p] = at[p] + kLinesAhead<W> * kLanes;
      next[p] = own[p] + (kPanels - 1) * lines * kLanes;
    }
  }
  int64_t lines;
  int64_t turn;  // the first k that fetches from the next tile
  const float* at[kPanels];
  const float* own[kPanels];
  const float* next[kPanels];
};

// The next `lines` lines of what is wanted later, or of something at hand when nothing is.
DEEPSEARCH_INLINE const float* take_later(FetchList* list, int64_t lines, const float* at_hand) {
  if (list == nullptr || list->next >= list->end) return at_hand;
  const int64_t piece = list->next / list->lines;
  const int64_t line = list->next % list->lines;
  // What is left of a piece may be less: then some lines after it are asked for in vain, unless they are too many.
  list->next = list->lines - line < 2 * lines ? (piece + 1) * list->lines : list->next + lines;
  return list->base + list->ids[piece] * list->stride + line * kLanes;
}

template <class W, int kRows, int kPanels>
void product_tile(const Product& job, int64_t row, int64_t panel) {
  const float* a = job.a + row * job.a_stride;
  const TilePanels<W, kPanels> w(job, panel);
  const float* later = w.at[0];
  if constexpr (kRows >= kTallRows) later = take_later(job.later, w.lines, later);
  V acc[kRows][kPanels];
  clear(acc);
  if constexpr (W::kScaled) {
    const int64_t groups = (job.k + kInt8Group - 1) / kInt8Group;
    V total[kRows][kPanels];
    clear(total);
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t first = g * kInt8Group;
      const int64_t last = first + kInt8Group < job.k ? first + kInt8Group : job.k;
      accumulate<W, kRows, kPanels, true>(a, job.a_stride, w.at, first < w.turn ? w.own : w.next, later, first, last,
                                          acc);
      DEEPSEARCH_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        const V scale = V::load(job.scales + ((panel + p) * groups + g) * kLanes);
        DEEPSEARCH_UNROLL
        for (int r = 0; r < kRows; ++r) total[r][p] = V::fma(acc[r][p], scale, total[r][p]);
      }
      clear(acc);
    }
    DEEPSEARCH_UNROLL
    for (int r = 0; r < kRows; ++r) {
      DEEPSEARCH_UNROLL
      for (int p = 0; p < kPanels; ++p) finish(job, row + r, panel + p, total[r][p]);
    }
  } else {
    accumulate<W, kRows, kPanels, true>(a, job.a_stride, w.at, w.own, later, 0, w.turn, acc);
    accumulate<W, kRows, kPanels, true>(a, job.a_stride, w.at, w.next, later, w.turn, job.k, acc);
    DEEPSEARCH_UNROLL
    for (int r = 0; r < kRows; ++r) {
      DEEPSEARCH_UNROLL
      for (int p = 0; p < kPanels; ++p) finish(job, row + r, panel + p, acc[r][p]);
    }
  }
}

template <class W, int kRows>
void product_rows(const Product& job, int64_t rows, int64_t row, int64_t panel, int64_t panels) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return product_rows<W, kRows - 1>(job, rows, row, panel, panels);
  }
  const int64_t end = panel + panels;
  if constexpr (tile_panels(kRows) >= 4) {
    for (; panel + 4 <= end; panel += 4) product_tile<W, kRows, 4>(job, row, panel);
  }
  if constexpr (tile_panels(kRows) >= 2) {
    for (; panel + 2 <= end; panel += 2) product_tile<W, kRows, 2>(job, row, panel);
  }
  for (; panel < end; ++panel) product_tile<W, kRows, 1>(job, row, panel);
}

template <class W>
void product(const Product& job) {
  if (job.rows == 0) return;
  // Tiles of equal height: a thin one at the end would read the panels for little.
  const int64_t tiles = (job.rows + kTileRows - 1) / kTileRows;
  const int64_t height = (job.rows + tiles - 1) / tiles;
  const int64_t step = tile_panels(height);
  for (int64_t panel = 0; panel < job.panels; panel += step) {
    const int64_t panels = job.panels - panel < step ? job.panels - panel : step;
    for (int64_t row = 0; row < job.rows; row += height) {
      const int64_t rows = job.rows - row < height ? job.rows - row : height;
      product_rows<W, kTileRows>(job, rows, row, panel, panels);
    }
  }
}

// NOLINTEND(misc-definitions-in-headers,modernize-loop-convert)
