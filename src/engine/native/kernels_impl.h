// The kernels once, over a 16-lane vector type `V` that the including file defines (with kTileRows and kTilePanels, the
// tile of accumulators that fits its registers). Included by one .cpp per instruction set, inside an anonymous
// namespace and after the compiler was told the target; includes nothing, so that no library code is compiled for that
// target.
// NOLINTBEGIN(misc-definitions-in-headers,modernize-loop-convert): one copy an instruction set, index loops by register

#if defined(__clang__)
#define DEEPSEARCH_UNROLL _Pragma("clang loop unroll(full)")
#else
#define DEEPSEARCH_UNROLL _Pragma("GCC unroll 16")
#endif

// --- Matrix product -------------------------------------------------------------------------------------------------

// The same chain of operations for every element whatever the tile: only how many chains run side by side differs.
template <int kRows, int kPanels>
inline void matmul_tile(const float* a, int64_t a_stride, int64_t k, const float* w, float* c, int64_t c_stride,
                        bool add) {
  V acc[kRows][kPanels];
  DEEPSEARCH_UNROLL
  for (int r = 0; r < kRows; ++r) {
    DEEPSEARCH_UNROLL
    for (int p = 0; p < kPanels; ++p) acc[r][p] = V::zero();
  }
  for (int64_t i = 0; i < k; ++i) {
    V b[kPanels];
    DEEPSEARCH_UNROLL
    for (int p = 0; p < kPanels; ++p) b[p] = V::load(w + (p * k + i) * kLanes);
    DEEPSEARCH_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V x = V::broadcast(a[r * a_stride + i]);
      DEEPSEARCH_UNROLL
      for (int p = 0; p < kPanels; ++p) acc[r][p] = V::fma(x, b[p], acc[r][p]);
    }
  }
  DEEPSEARCH_UNROLL
  for (int r = 0; r < kRows; ++r) {
    DEEPSEARCH_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      float* out = c + r * c_stride + p * kLanes;
      (add ? V::add(V::load(out), acc[r][p]) : acc[r][p]).store(out);
    }
  }
}

template <int kRows, int kPanels>
inline void matmul_rest(const float* a, int64_t a_stride, int64_t rows, int64_t k, const float* w, float* c,
                        int64_t c_stride, bool add) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      matmul_tile<kRows, kPanels>(a, a_stride, k, w, c, c_stride, add);
    } else {
      matmul_rest<kRows - 1, kPanels>(a, a_stride, rows, k, w, c, c_stride, add);
    }
  }
}

template <int kPanels>
inline void matmul_panels(const float* a, int64_t a_stride, int64_t rows, int64_t k, const float* w, float* c,
                          int64_t c_stride, bool add) {
  int64_t r = 0;
  for (; r + kTileRows <= rows; r += kTileRows) {
    matmul_tile<kTileRows, kPanels>(a + r * a_stride, a_stride, k, w, c + r * c_stride, c_stride, add);
  }
  matmul_rest<kTileRows - 1, kPanels>(a + r * a_stride, a_stride, rows - r, k, w, c + r * c_stride, c_stride, add);
}

void matmul(const float* a, int64_t a_stride, int64_t rows, int64_t k, const float* w, int64_t panels, float* c,
            int64_t c_stride, bool add) {
  int64_t p = 0;
  for (; p + kTilePanels <= panels; p += kTilePanels) {
    matmul_panels<kTilePanels>(a, a_stride, rows, k, w + p * k * kLanes, c + p * kLanes, c_stride, add);
  }
  for (; p < panels; ++p) matmul_panels<1>(a, a_stride, rows, k, w + p * k * kLanes, c + p * kLanes, c_stride, add);
}

// --- Element-wise ---------------------------------------------------------------------------------------------------

// exp by 2^n · p(r), r = x − n·ln 2 in [−0.35, 0.35], p of degree 6 (relative error below 2e-7); 0 below −86.6.
inline V exp_lanes(V x) {
  constexpr float kLowest = -86.6F;
  constexpr float kMagic = 12582912.0F;  // 1.5·2^23: adding it rounds to an integer, kept in the low bits
  const V bounded = V::min(V::max(x, V::broadcast(kLowest)), V::broadcast(88.0F));
  const V t = V::fma(bounded, V::broadcast(1.44269504088896341F), V::broadcast(kMagic));
  const V n = V::sub(t, V::broadcast(kMagic));
  V r = V::fma(n, V::broadcast(-0.693359375F), bounded);
  r = V::fma(n, V::broadcast(2.12194440e-4F), r);
  V p = V::broadcast(1.9875691500e-4F);
  p = V::fma(p, r, V::broadcast(1.3981999507e-3F));
  p = V::fma(p, r, V::broadcast(8.3334519073e-3F));
  p = V::fma(p, r, V::broadcast(4.1665795894e-2F));
  p = V::fma(p, r, V::broadcast(1.6666665459e-1F));
  p = V::fma(p, r, V::broadcast(5.0000001201e-1F));
  p = V::fma(p, V::mul(r, r), r);
  p = V::add(p, V::broadcast(1.0F));
  return V::zero_where_less(V::add_exponent(p, t), x, kLowest);
}

void exp_shifted(const float* x, int64_t n, float shift, float scale, float* out) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const V y = V::mul(V::sub(V::load(x + i), V::broadcast(shift)), V::broadcast(scale));
    exp_lanes(y).store(out + i);
  }
}

void rms_norm(const float* x, int64_t stride, int64_t rows, int64_t n, const float* weight, float eps, float* out,
              int64_t out_stride) {
  for (int64_t row = 0; row < rows; ++row) {
    const float* in = x + row * stride;
    float* to = out + row * out_stride;
    V squares = V::zero();
    for (int64_t i = 0; i < n; i += kLanes) {
      const V value = V::load(in + i);
      squares = V::fma(value, value, squares);
    }
    const float mean = squares.sum() / static_cast<float>(n);
    const V scale = V::broadcast(1.0F / __builtin_sqrtf(mean + eps));
    for (int64_t i = 0; i < n; i += kLanes) {
      V::mul(V::mul(V::load(in + i), scale), V::load(weight + i)).store(to + i);
    }
  }
}

void rope(float* x, int64_t heads, int64_t head_dim, const float* cos, const float* sin, float scale) {
  const int64_t half = head_dim / 2;
  for (int64_t h = 0; h < heads; ++h) {
    float* low = x + h * head_dim;
    float* high = low + half;
    for (int64_t i = 0; i < half; ++i) {
      const float a = low[i];
      const float b = high[i];
      const float as = a * sin[i];
      const float bs = b * sin[i];
      low[i] = __builtin_fmaf(a, cos[i], -bs) * scale;
      high[i] = __builtin_fmaf(b, cos[i], as) * scale;
    }
  }
}

void swiglu(const float* gate, const float* up, int64_t n, float* out) {
  const V one = V::broadcast(1.0F);
  for (int64_t i = 0; i < n; i += kLanes) {
    const V g = V::load(gate + i);
    const V e = exp_lanes(V::sub(V::zero(), g));
    V::mul(V::div(g, V::add(one, e)), V::load(up + i)).store(out + i);
  }
}

// --- Attention ------------------------------------------------------------------------------------------------------

// scores[h][position] = q[h] · k[position], 16 positions at a time; lanes past a segment's end are overwritten by the
// next segment or by softmax's padding.
inline void attention_scores(const AttentionShape& shape, const float* q, const SegmentView* segments,
                             int64_t n_segments, float* scores, int64_t score_stride) {
  const int64_t group = shape.n_heads / shape.n_kv_heads;
  for (int64_t h = 0; h < shape.n_heads; ++h) {
    const float* query = q + h * shape.head_dim;
    float* to = scores + h * score_stride;
    for (int64_t s = 0; s < n_segments; ++s) {
      const SegmentView& view = segments[s];
      const float* keys = view.k + (h / group) * shape.head_dim * view.stride;
      for (int64_t p = 0; p < view.n; p += kLanes) {
        V acc = V::zero();
        const float* key = keys + p;
        for (int64_t d = 0; d < shape.head_dim; ++d) {
          acc = V::fma(V::broadcast(query[d]), V::load(key), acc);
          key += view.stride;
        }
        acc.store(to + p);
      }
      to += view.n;
    }
  }
}

// Softmax numerators in place; returns their sum. Values past `n` up to the next multiple of 16 become 0.
inline float softmax_numerators(float* scores, int64_t n) {
  const int64_t padded = (n + kLanes - 1) / kLanes * kLanes;
  for (int64_t i = n; i < padded; ++i) scores[i] = -1e30F;
  V largest = V::load(scores);
  for (int64_t i = kLanes; i < padded; i += kLanes) largest = V::max(largest, V::load(scores + i));
  const V shift = V::broadcast(largest.maximum());
  V sum = V::zero();
  for (int64_t i = 0; i < padded; i += kLanes) {
    const V e = exp_lanes(V::sub(V::load(scores + i), shift));
    e.store(scores + i);
    sum = V::add(sum, e);
  }
  return sum.sum();
}

// out[chunk] = Σ_position numerator · v / sum for kChunks (head, 16 channels) pairs side by side.
template <int kChunks>
inline void attention_mix(const AttentionShape& shape, const SegmentView* segments, int64_t n_segments,
                          const float* scores, int64_t score_stride, const float* sums, int64_t first_chunk,
                          float* out) {
  const int64_t group = shape.n_heads / shape.n_kv_heads;
  const int64_t per_head = shape.head_dim_padded / kLanes;
  const int64_t v_stride = shape.n_kv_heads * shape.head_dim_padded;
  V acc[kChunks];
  const float* weights[kChunks];
  int64_t offset[kChunks];
  for (int c = 0; c < kChunks; ++c) {
    const int64_t head = (first_chunk + c) / per_head;
    acc[c] = V::zero();
    weights[c] = scores + head * score_stride;
    offset[c] = (head / group) * shape.head_dim_padded + (first_chunk + c) % per_head * kLanes;
  }
  int64_t position = 0;
  for (int64_t s = 0; s < n_segments; ++s) {
    const float* v = segments[s].v;
    for (int64_t p = 0; p < segments[s].n; ++p, ++position, v += v_stride) {
      for (int c = 0; c < kChunks; ++c) {
        acc[c] = V::fma(V::broadcast(weights[c][position]), V::load(v + offset[c]), acc[c]);
      }
    }
  }
  for (int c = 0; c < kChunks; ++c) {
    const int64_t head = (first_chunk + c) / per_head;
    const int64_t channel = (first_chunk + c) % per_head * kLanes;
    const V value = V::div(acc[c], V::broadcast(sums[head]));
    float* to = out + head * shape.head_dim + channel;
    const int64_t n = shape.head_dim - channel;
    if (n >= kLanes) {
      value.store(to);
    } else {
      float lanes[kLanes];
      value.store(lanes);
      for (int64_t i = 0; i < n; ++i) to[i] = lanes[i];
    }
  }
}

void attention(const AttentionShape& shape, const float* q, const SegmentView* segments, int64_t n_segments,
               int64_t positions, float* scores, float* out) {
  constexpr int64_t kMaxHeadsAtOnce = 64;
  const int64_t score_stride = (positions + kLanes - 1) / kLanes * kLanes + kLanes;
  attention_scores(shape, q, segments, n_segments, scores, score_stride);
  const int64_t per_head = shape.head_dim_padded / kLanes;
  float sums[kMaxHeadsAtOnce];
  for (int64_t first = 0; first < shape.n_heads; first += kMaxHeadsAtOnce) {
    const int64_t last = first + kMaxHeadsAtOnce < shape.n_heads ? first + kMaxHeadsAtOnce : shape.n_heads;
    for (int64_t h = first; h < last; ++h) sums[h - first] = softmax_numerators(scores + h * score_stride, positions);
    const float* base = sums - first;
    int64_t c = first * per_head;
    const int64_t end = last * per_head;
    for (; c + 4 <= end; c += 4) attention_mix<4>(shape, segments, n_segments, scores, score_stride, base, c, out);
    for (; c < end; ++c) attention_mix<1>(shape, segments, n_segments, scores, score_stride, base, c, out);
  }
}

float fma_loop(int64_t n) {
  constexpr int kChains = kTileRows * kTilePanels;
  V acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = V::broadcast(static_cast<float>(i));
  const V a = V::broadcast(0.999F);
  const V b = V::broadcast(0.001F);
  for (int64_t i = 0; i < n; i += kChains) {
    for (int c = 0; c < kChains; ++c) acc[c] = V::fma(acc[c], a, b);
  }
  V sum = V::zero();
  for (int c = 0; c < kChains; ++c) sum = V::add(sum, acc[c]);
  return sum.sum();
}

// NOLINTEND(misc-definitions-in-headers,modernize-loop-convert)
