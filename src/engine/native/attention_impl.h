// Attention over blocks of 16 positions, over the including file's vector type V (kernels_impl.h).
// NOLINTBEGIN(misc-definitions-in-headers,modernize-loop-convert): one copy an instruction set, index loops by register

DEEPSEARCH_INLINE const float* block_at(const BlockView& view, int64_t index) {
  return view.base + view.table[index] * view.block_stride;
}

template <int kRows, int kBlocks>
void scores_tile(const float* q, int64_t head_dim, const BlockView& keys, int64_t block, float* out, int64_t out_stride,
                 const BlockView& ahead) {
  const float* k[kBlocks];
  DEEPSEARCH_UNROLL
  for (int b = 0; b < kBlocks; ++b) k[b] = block_at(keys, block + b);
  V acc[kRows][kBlocks];
  clear(acc);
  if (block + kBlocks <= ahead.blocks) {
    const float* fetch[kBlocks];
    DEEPSEARCH_UNROLL
    for (int b = 0; b < kBlocks; ++b) fetch[b] = block_at(ahead, block + b);
    accumulate<Fp32Values, kRows, kBlocks, true>(q, head_dim, k, fetch, k[0], 0, head_dim, acc);
  } else {
    accumulate<Fp32Values, kRows, kBlocks, false>(q, head_dim, k, k, k[0], 0, head_dim, acc);
  }
  DEEPSEARCH_UNROLL
  for (int r = 0; r < kRows; ++r) {
    DEEPSEARCH_UNROLL
    for (int b = 0; b < kBlocks; ++b) acc[r][b].store(out + r * out_stride + (block + b) * kLanes);
  }
}

template <int kRows>
void scores_rows(const float* q, int64_t rows, int64_t head_dim, const BlockView& keys, int64_t block, int64_t blocks,
                 float* out, int64_t out_stride, const BlockView& ahead) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return scores_rows<kRows - 1>(q, rows, head_dim, keys, block, blocks, out, out_stride, ahead);
  }
  const int64_t end = block + blocks;
  if constexpr (tile_panels(kRows) >= 4) {
    for (; block + 4 <= end; block += 4) scores_tile<kRows, 4>(q, head_dim, keys, block, out, out_stride, ahead);
  }
  if constexpr (tile_panels(kRows) >= 2) {
    for (; block + 2 <= end; block += 2) scores_tile<kRows, 2>(q, head_dim, keys, block, out, out_stride, ahead);
  }
  for (; block < end; ++block) scores_tile<kRows, 1>(q, head_dim, keys, block, out, out_stride, ahead);
}

void scores(const float* q, int64_t rows, int64_t head_dim, const BlockView& keys, int64_t blocks, float* out,
            int64_t out_stride, const BlockView& ahead) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  const int64_t height = (rows + tiles - 1) / tiles;
  const int64_t step = tile_panels(height);
  for (int64_t block = 0; block < blocks; block += step) {
    const int64_t n = blocks - block < step ? blocks - block : step;
    for (int64_t row = 0; row < rows; row += height) {
      scores_rows<kTileRows>(q + row * head_dim, rows - row < height ? rows - row : height, head_dim, keys, block, n,
                             out + row * out_stride, out_stride, ahead);
    }
  }
}

float softmax(float* s, int64_t n, int64_t padded) {
  for (int64_t i = n; i < padded; ++i) s[i] = -3e38F;
  V most = V::load(s);
  for (int64_t i = kLanes; i < padded; i += kLanes) most = V::max(most, V::load(s + i));
  const V shift = V::broadcast(most.maximum());
  V sum = V::zero();
  for (int64_t i = 0; i < padded; i += kLanes) {
    const V e = exp_lanes(V::sub(V::load(s + i), shift));
    e.store(s + i);
    sum = V::add(sum, e);
  }
  return sum.sum();
}

// kChunks · 16 columns of kRows rows, kept in registers over all positions.
template <int kRows, int kChunks>
void mix_tile(const float* weights, int64_t weights_stride, const BlockView& values, int64_t positions, int64_t width,
              float* acc, const BlockView& ahead) {
  V sum[kRows][kChunks];
  DEEPSEARCH_UNROLL
  for (int r = 0; r < kRows; ++r) {
    DEEPSEARCH_UNROLL
    for (int c = 0; c < kChunks; ++c) sum[r][c] = V::load(acc + r * width + c * kLanes);
  }
  for (int64_t block = 0; block * kLanes < positions; ++block) {
    const float* v = block_at(values, block);
    const int64_t fetch = block < ahead.blocks ? block_at(ahead, block) - v : 0;
    const float* w = weights + block * kLanes;
    const int64_t n = positions - block * kLanes < kLanes ? positions - block * kLanes : kLanes;
    for (int64_t i = 0; i < n; ++i, v += width) {
      V value[kChunks];
      DEEPSEARCH_UNROLL
      for (int c = 0; c < kChunks; ++c) value[c] = V::load(v + c * kLanes);
      if constexpr (kRows <= 4) {
        // Into L2: it is some 10 KB ahead. Itself when nothing is wanted.
        DEEPSEARCH_UNROLL
        for (int c = 0; c < kChunks; ++c) __builtin_prefetch(v + fetch + c * kLanes, 0, 2);
      }
      DEEPSEARCH_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const V x = V::broadcast(w[r * weights_stride + i]);
        DEEPSEARCH_UNROLL
        for (int c = 0; c < kChunks; ++c) sum[r][c] = V::fma(x, value[c], sum[r][c]);
      }
    }
  }
  DEEPSEARCH_UNROLL
  for (int r = 0; r < kRows; ++r) {
    DEEPSEARCH_UNROLL
    for (int c = 0; c < kChunks; ++c) sum[r][c].store(acc + r * width + c * kLanes);
  }
}

template <int kRows>
void mix_rows(const float* weights, int64_t weights_stride, int64_t rows, const BlockView& values, int64_t positions,
              int64_t width, float* acc, const BlockView& ahead) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return mix_rows<kRows - 1>(weights, weights_stride, rows, values, positions, width, acc, ahead);
  }
  const auto from = [](const BlockView& view, int64_t column) {
    return BlockView{view.base + column, view.block_stride, view.table, view.blocks};
  };
  int64_t column = 0;
  if constexpr (tile_panels(kRows) >= 4) {
    for (; column + 4 * kLanes <= width; column += 4 * kLanes) {
      mix_tile<kRows, 4>(weights, weights_stride, from(values, column), positions, width, acc + column,
                         ahead.blocks > 0 ? from(ahead, column) : ahead);
    }
  }
  if constexpr (tile_panels(kRows) >= 2) {
    for (; column + 2 * kLanes <= width; column += 2 * kLanes) {
      mix_tile<kRows, 2>(weights, weights_stride, from(values, column), positions, width, acc + column,
                         ahead.blocks > 0 ? from(ahead, column) : ahead);
    }
  }
  for (; column < width; column += kLanes) {
    mix_tile<kRows, 1>(weights, weights_stride, from(values, column), positions, width, acc + column,
                       ahead.blocks > 0 ? from(ahead, column) : ahead);
  }
}

void mix(const float* weights, int64_t weights_stride, int64_t rows, const BlockView& values, int64_t positions,
         int64_t width, float* acc, const BlockView& ahead) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  const int64_t height = (rows + tiles - 1) / tiles;
  for (int64_t row = 0; row < rows; row += height) {
    mix_rows<kTileRows>(weights + row * weights_stride, weights_stride, rows - row < height ? rows - row : height,
                        values, positions, width, acc + row * width, ahead);
  }
}

void divide(const float* x, int64_t n, float divisor, float* out) {
  const V by = V::broadcast(divisor);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) V::div(V::load(x + i), by).store(out + i);
  if (i < n) V::div(V::load_first(x + i, n - i), by).store_first(out + i, n - i);
}

// NOLINTEND(misc-definitions-in-headers,modernize-loop-convert)
