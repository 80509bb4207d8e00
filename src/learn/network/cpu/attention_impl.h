// Attention of a tile of queries over their path, in blocks of keys, over the including file's vector type V
// (kernels_impl.h). FlashAttention-2 (Dao, 2023): forward keeps each row's running maximum and sum, backward makes the
// probabilities again from log Σ exp(scores).
// NOLINTBEGIN(misc-definitions-in-headers,modernize-loop-convert): one copy an instruction set, index loops by register

// kMask + 16 − n: zeros for n lanes, then −infinity.
constexpr float kNever = -__builtin_huge_valf();
alignas(64) constexpr float kMask[2 * kLanes] = {0,      0,      0,      0,      0,      0,      0,      0,
                                                 0,      0,      0,      0,      0,      0,      0,      0,
                                                 kNever, kNever, kNever, kNever, kNever, kNever, kNever, kNever,
                                                 kNever, kNever, kNever, kNever, kNever, kNever, kNever, kNever};

// Scores (or dout · values): rows of queries by blocks of keys.
struct ScoreProduct {
  const float* rows;    // [·, kRowStride]
  const float* across;  // [blocks, head_dim, 16]
  int64_t head_dim;
  float* to;  // [·, kScoreStride]

  template <int kRows, int kVectors>
  DEEPSEARCH_INLINE void tile(int64_t v) const {
    V acc[kRows][kVectors];
    multiply<kRowStride, 1>(rows, across + v * head_dim * kLanes, kLanes, head_dim * kLanes, head_dim, acc);
    DEEPSEARCH_UNROLL
    for (int r = 0; r < kRows; ++r) {
      DEEPSEARCH_UNROLL
      for (int c = 0; c < kVectors; ++c) acc[r][c].store(to + r * kScoreStride + (v + c) * kLanes);
    }
  }
};

// to += weights · values, over n keys.
struct MixProduct {
  const float* weights;  // [·, kScoreStride]
  const float* values;   // [·, width]
  int64_t width;
  int64_t n;
  float* to;  // [·, kRowStride]

  template <int kRows, int kVectors>
  DEEPSEARCH_INLINE void tile(int64_t v) const {
    V acc[kRows][kVectors];
    multiply<kScoreStride, 1>(weights, values + v * kLanes, width, kLanes, n, acc);
    DEEPSEARCH_UNROLL
    for (int r = 0; r < kRows; ++r) {
      DEEPSEARCH_UNROLL
      for (int c = 0; c < kVectors; ++c) {
        float* at = to + r * kRowStride + (v + c) * kLanes;
        V::add(V::load(at), acc[r][c]).store(at);
      }
    }
  }
};

// Gradients of keys (rows of the tile) += weightsᵀ · rows, over n queries.
struct KeyGradient {
  const float* weights;  // [n, kScoreStride]
  const float* rows;     // [n, kRowStride]
  int64_t n;
  int64_t head_dim;
  float* to;
  int64_t to_stride;
  const int32_t* to_rows;

  template <int kRows, int kVectors>
  DEEPSEARCH_INLINE void tile(int64_t v) const {
    V acc[kRows][kVectors];
    multiply<1, kScoreStride>(weights, rows + v * kLanes, kRowStride, kLanes, n, acc);
    for (int r = 0; r < kRows; ++r) {
      float* at = to + to_rows[r] * to_stride;
      for (int c = 0; c < kVectors; ++c) {
        const int64_t first = (v + c) * kLanes;
        put_lanes(V::add(lanes_of(at, first, head_dim), acc[r][c]), at, first, head_dim);
      }
    }
  }
};

DEEPSEARCH_INLINE void load_rows(const ConstHeads& heads, const QueryTile& tile, float scale, float* to) {
  const V by = V::broadcast(scale);
  for (int64_t t = 0; t < tile.tokens; ++t) {
    for (int64_t h = 0; h < tile.group; ++h, to += kRowStride) {
      const float* from = heads.data + t * heads.token + h * heads.head;
      for (int64_t i = 0; i < tile.head_dim; i += kLanes) {
        V::mul(lanes_of(from, i, tile.head_dim), by).store(to + i);
      }
    }
  }
}

DEEPSEARCH_INLINE void clear_rows(float* to, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r, to += kRowStride) {
    for (int64_t i = 0; i < width; i += kLanes) V::zero().store(to + i);
  }
}

DEEPSEARCH_INLINE void pack_across(const float* from, int64_t head_dim, int64_t position, float* to) {
  to += position / kLanes * head_dim * kLanes + position % kLanes;
  for (int64_t i = 0; i < head_dim; ++i) to[i * kLanes] = from[i];
}
DEEPSEARCH_INLINE void pack_row(const float* from, int64_t head_dim, int64_t position, float* to) {
  to += position * round_up(head_dim, kLanes);
  for (int64_t i = 0; i < head_dim; i += kLanes) lanes_of(from, i, head_dim).store(to + i);
}

void pack_forward(const float* key, const float* value, int64_t head_dim, int64_t position, const PackedPath& path) {
  pack_across(key, head_dim, position, path.keys_across);
  pack_row(value, head_dim, position, path.values);
}
void pack_backward(const float* key, const float* value, int64_t head_dim, int64_t position, const PackedPath& path) {
  pack_across(key, head_dim, position, path.keys_across);
  pack_across(value, head_dim, position, path.values_across);
  pack_row(key, head_dim, position, path.keys);
}

// The exponential of one number, by the same operations.
DEEPSEARCH_INLINE float exp_of(float x) {
  float lanes[kLanes];
  exp_lanes(V::broadcast(x)).store(lanes);
  return lanes[0];
}

// A row of a block: the first `own` of n scores become numerators against the new maximum, the others zero; the sums so
// far are made to fit.
DEEPSEARCH_INLINE void numerators(float* scores, int64_t own, int64_t n, float& largest, float& sum, float* acc,
                                  int64_t width) {
  const int64_t whole = own / kLanes * kLanes;
  const V mask = V::load(kMask + kLanes - (own - whole));
  V top = V::broadcast(kNever);
  for (int64_t i = 0; i < whole; i += kLanes) top = V::max(top, V::load(scores + i));
  if (whole < own) top = V::max(top, V::add(V::load(scores + whole), mask));
  const float block = top.maximum();
  if (block > largest) {
    const float shrink = exp_of(largest - block);
    const V by = V::broadcast(shrink);
    for (int64_t i = 0; i < width; i += kLanes) V::mul(V::load(acc + i), by).store(acc + i);
    sum *= shrink;
    largest = block;
  }
  const V shift = V::broadcast(largest);
  V total = V::zero();
  int64_t i = 0;
  for (; i < whole; i += kLanes) {
    const V value = exp_lanes(V::sub(V::load(scores + i), shift));
    value.store(scores + i);
    total = V::add(total, value);
  }
  if (whole < own) {
    const V value = exp_lanes(V::sub(V::add(V::load(scores + i), mask), shift));
    value.store(scores + i);
    total = V::add(total, value);
    i += kLanes;
  }
  for (; i < n; i += kLanes) V::zero().store(scores + i);
  sum += total.sum();
}

void attend_forward(const ForwardTile& forward, float* work) {
  const QueryTile& tile = forward.tile;
  const int64_t rows = tile.tokens * tile.group;
  const int64_t width = round_up(tile.head_dim, kLanes);
  float* q = work;
  float* acc = q + rows * kRowStride;
  float* scores = acc + rows * kRowStride;
  float* largest = scores + kTileRows * kScoreStride;
  float* sums = largest + rows;
  load_rows(tile.q, tile, tile.scale, q);
  clear_rows(acc, rows, width);
  for (int64_t r = 0; r < rows; ++r) {
    largest[r] = kNever;
    sums[r] = 0;
  }
  const int64_t keys = tile.before + tile.tokens;
  for (int64_t first = 0; first < keys; first += kKeyBlock) {
    for (int64_t r0 = most(0, first - tile.before) * tile.group / kTileRows * kTileRows; r0 < rows; r0 += kTileRows) {
      const int64_t some = least(kTileRows, rows - r0);
      const int64_t n = least(kKeyBlock, tile.before + (r0 + some - 1) / tile.group + 1 - first);
      if (n <= 0) continue;
      tiles_of(ScoreProduct{q + r0 * kRowStride, tile.path.keys_across + first * tile.head_dim, tile.head_dim, scores},
               some, (n + kLanes - 1) / kLanes);
      int64_t token = r0 / tile.group;
      int64_t head = r0 % tile.group;
      for (int64_t r = 0; r < some; ++r) {
        const int64_t own = most(0, least(n, tile.before + token + 1 - first));
        if (own > 0) {
          numerators(scores + r * kScoreStride, own, n, largest[r0 + r], sums[r0 + r], acc + (r0 + r) * kRowStride,
                     width);
        } else {
          for (int64_t i = 0; i < n; i += kLanes) V::zero().store(scores + r * kScoreStride + i);
        }
        if (++head == tile.group) {
          head = 0;
          ++token;
        }
      }
      tiles_of(MixProduct{scores, tile.path.values + first * width, width, n, acc + r0 * kRowStride}, some,
               width / kLanes);
    }
  }
  int64_t r = 0;
  for (int64_t t = 0; t < tile.tokens; ++t) {
    for (int64_t h = 0; h < tile.group; ++h, ++r) {
      const V by = V::broadcast(1.0F / sums[r]);
      float* to = forward.out.data + t * forward.out.token + h * forward.out.head;
      for (int64_t i = 0; i < tile.head_dim; i += kLanes) {
        put_lanes(V::mul(V::load(acc + r * kRowStride + i), by), to, i, tile.head_dim);
      }
      tile.lse[t * tile.lse_token + h] = largest[r] + __builtin_logf(sums[r]);
    }
  }
}

// A row of a block: from scores and dout · values to probabilities and gradients of the scores; zeros past `own`.
DEEPSEARCH_INLINE void probabilities(float* scores, float* ds, int64_t own, int64_t n, float lse, float delta) {
  const int64_t whole = own / kLanes * kLanes;
  const V shift = V::broadcast(lse);
  const V less = V::broadcast(delta);
  int64_t i = 0;
  for (; i < whole; i += kLanes) {
    const V p = exp_lanes(V::sub(V::load(scores + i), shift));
    p.store(scores + i);
    V::mul(p, V::sub(V::load(ds + i), less)).store(ds + i);
  }
  if (whole < own) {
    const V p = exp_lanes(V::sub(V::add(V::load(scores + i), V::load(kMask + kLanes - (own - whole))), shift));
    p.store(scores + i);
    V::mul(p, V::sub(V::load(ds + i), less)).store(ds + i);
    i += kLanes;
  }
  for (; i < n; i += kLanes) {
    V::zero().store(scores + i);
    V::zero().store(ds + i);
  }
}

void attend_backward(const BackwardTile& backward, float* work) {
  const QueryTile& tile = backward.tile;
  const PackedPath& path = tile.path;
  const int64_t group = tile.group;
  const int64_t head_dim = tile.head_dim;
  const int64_t rows = tile.tokens * group;
  const int64_t width = round_up(head_dim, kLanes);
  float* q = work;
  float* dout = q + rows * kRowStride;
  float* dq = dout + rows * kRowStride;
  float* scores = dq + rows * kRowStride;
  float* ds = scores + rows * kScoreStride;
  float* delta = ds + rows * kScoreStride;
  load_rows(backward.dout, tile, 1.0F, dout);
  load_rows(backward.out, tile, 1.0F, q);
  for (int64_t r = 0; r < rows; ++r) {
    V dot = V::zero();
    for (int64_t i = 0; i < width; i += kLanes) {
      dot = V::fma(V::load(dout + r * kRowStride + i), V::load(q + r * kRowStride + i), dot);
    }
    delta[r] = dot.sum();
  }
  load_rows(tile.q, tile, tile.scale, q);
  clear_rows(dq, rows, width);
  const int64_t keys = tile.before + tile.tokens;
  for (int64_t first = 0; first < keys; first += kKeyBlock) {
    const int64_t block = least(kKeyBlock, keys - first);
    const int64_t begin = most(0, first - tile.before) * group;  // the rows before see no key of the block
    for (int64_t r0 = begin; r0 < rows; r0 += kTileRows) {
      const int64_t some = least(kTileRows, rows - r0);
      const int64_t n = least(block, tile.before + (r0 + some - 1) / group + 1 - first);
      const int64_t vectors = (n + kLanes - 1) / kLanes;
      tiles_of(
          ScoreProduct{q + r0 * kRowStride, path.keys_across + first * head_dim, head_dim, scores + r0 * kScoreStride},
          some, vectors);
      tiles_of(
          ScoreProduct{dout + r0 * kRowStride, path.values_across + first * head_dim, head_dim, ds + r0 * kScoreStride},
          some, vectors);
      int64_t token = r0 / group;
      int64_t head = r0 % group;
      for (int64_t r = r0; r < r0 + some; ++r) {
        probabilities(scores + r * kScoreStride, ds + r * kScoreStride, least(n, tile.before + token + 1 - first),
                      block, tile.lse[token * tile.lse_token + head], delta[r]);
        if (++head == group) {
          head = 0;
          ++token;
        }
      }
      tiles_of(MixProduct{ds + r0 * kScoreStride, path.keys + first * width, width, n, dq + r0 * kRowStride}, some,
               width / kLanes);
    }
    for (int64_t k0 = 0; k0 < block; k0 += kTileRows) {
      const int64_t some = least(kTileRows, block - k0);
      const int64_t from = most(0, first + k0 - tile.before) * group;
      const int32_t* to_rows = backward.rows + first + k0;
      tiles_of(KeyGradient{scores + from * kScoreStride + k0, dout + from * kRowStride, rows - from, head_dim,
                           backward.dv.data, backward.dv.token, to_rows},
               some, width / kLanes);
      tiles_of(KeyGradient{ds + from * kScoreStride + k0, q + from * kRowStride, rows - from, head_dim,
                           backward.dk.data, backward.dk.token, to_rows},
               some, width / kLanes);
    }
  }
  const V by = V::broadcast(tile.scale);
  int64_t r = 0;
  for (int64_t t = 0; t < tile.tokens; ++t) {
    for (int64_t h = 0; h < group; ++h, ++r) {
      float* to = backward.dq.data + t * backward.dq.token + h * backward.dq.head;
      for (int64_t i = 0; i < head_dim; i += kLanes) {
        put_lanes(V::mul(V::load(dq + r * kRowStride + i), by), to, i, head_dim);
      }
    }
  }
}

// NOLINTEND(misc-definitions-in-headers,modernize-loop-convert)
