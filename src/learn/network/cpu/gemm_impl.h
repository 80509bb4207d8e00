// Matrix product of packed panels over the including file's vector type V (kernels_impl.h).
// NOLINTBEGIN(misc-definitions-in-headers,modernize-loop-convert): one copy an instruction set, index loops by register

// One row tile by the panel's columns: c = plus + Σ_k a(k, row) · b(k, column).
struct PanelProduct {
  const float* a;  // [n, kTileRows]; or, with a row_step, rows of n that far apart
  int64_t row_step;
  const float* b;  // [n, kPanel]
  int64_t n;
  float* c;
  int64_t c_stride;
  int64_t columns;
  const float* plus;  // or none
  int64_t plus_stride;

  template <int kRows, int kVectors>
  DEEPSEARCH_INLINE void tile(int64_t v) const {
    V acc[kRows][kVectors];
    if (row_step == 0) {
      multiply<1, kTileRows>(a, b + v * kLanes, kTileVectors * kLanes, kLanes, n, acc);
    } else {
      multiply_rows(a, row_step, b + v * kLanes, kTileVectors * kLanes, kLanes, n, acc);
    }
    DEEPSEARCH_UNROLL
    for (int r = 0; r < kRows; ++r) {
      DEEPSEARCH_UNROLL
      for (int i = 0; i < kVectors; ++i) {
        const int64_t first = (v + i) * kLanes;
        if (plus != nullptr) acc[r][i] = V::add(lanes_of(plus + r * plus_stride, first, columns), acc[r][i]);
        put_lanes(acc[r][i], c + r * c_stride, first, columns);
      }
    }
  }
};

using Four = float __attribute__((vector_size(16), aligned(4), may_alias));

// Squares of 4 rows by 4 k, turned: rows lie one after the other in `to`, kTileRows from k to k.
DEEPSEARCH_INLINE void turn_four(const float* from, int64_t row_step, float* to) {
  const auto row = [&](int64_t r) { return *reinterpret_cast<const Four*>(from + r * row_step); };
  const auto put = [&](int64_t k, Four values) { *reinterpret_cast<Four*>(to + k * kTileRows) = values; };
  const Four a = __builtin_shufflevector(row(0), row(1), 0, 4, 1, 5);
  const Four b = __builtin_shufflevector(row(2), row(3), 0, 4, 1, 5);
  const Four c = __builtin_shufflevector(row(0), row(1), 2, 6, 3, 7);
  const Four d = __builtin_shufflevector(row(2), row(3), 2, 6, 3, 7);
  put(0, __builtin_shufflevector(a, b, 0, 1, 4, 5));
  put(1, __builtin_shufflevector(a, b, 2, 3, 6, 7));
  put(2, __builtin_shufflevector(c, d, 0, 1, 4, 5));
  put(3, __builtin_shufflevector(c, d, 2, 3, 6, 7));
}

// [tiles, n, kTileRows] of `rows` rows: a(row, k) at a + row · row_step + k · k_step. Rows that fill up are zero.
void pack_rows(const float* a, int64_t row_step, int64_t k_step, int64_t rows, int64_t n, float* to) {
  for (int64_t r0 = 0; r0 < rows; r0 += kTileRows, to += n * kTileRows) {
    const int64_t some = least(kTileRows, rows - r0);
    const float* from = a + r0 * row_step;
    const int64_t turned = k_step == 1 ? some / 4 * 4 : 0;
    const int64_t whole = n / 4 * 4;
    for (int64_t k = 0; k < whole; k += 4) {
      for (int64_t r = 0; r < turned; r += 4) turn_four(from + r * row_step + k, row_step, to + k * kTileRows + r);
    }
    for (int64_t k = 0; k < n; ++k) {
      float* line = to + k * kTileRows;
      for (int64_t r = k < whole ? turned : 0; r < some; ++r) line[r] = from[r * row_step + k * k_step];
      for (int64_t r = some; r < kTileRows; ++r) line[r] = 0;
    }
  }
}

// [panels, n, kPanel] of `columns` columns: b(k, column) at b + k · k_step + column · column_step. Zeros fill up.
void pack_columns(const float* b, int64_t k_step, int64_t column_step, int64_t n, int64_t columns, float* to) {
  constexpr int64_t kPanel = kTileVectors * kLanes;
  for (int64_t c0 = 0; c0 < columns; c0 += kPanel, to += n * kPanel) {
    const int64_t some = least(kPanel, columns - c0);
    if (column_step == 1) {
      for (int64_t k = 0; k < n; ++k) {
        const float* from = b + k * k_step + c0;
        for (int64_t i = 0; i < kPanel; i += kLanes) {
          (i < some ? lanes_of(from, i, some) : V::zero()).store(to + k * kPanel + i);
        }
      }
      continue;
    }
    for (int64_t k0 = 0; k0 < n; k0 += kLanes) {  // in squares: a line of the source is read once
      const int64_t k1 = least(n, k0 + kLanes);
      for (int64_t i = 0; i < kPanel; ++i) {
        const float* from = b + (c0 + i) * column_step;
        for (int64_t k = k0; k < k1; ++k) to[k * kPanel + i] = i < some ? from[k * k_step] : 0.0F;
      }
    }
  }
}

void multiply_panels(const PanelBlock& block) {
  constexpr int64_t kPanel = kTileVectors * kLanes;
  for (int64_t c0 = 0; c0 < block.columns; c0 += kPanel) {
    const int64_t columns = least(kPanel, block.columns - c0);
    const float* b = block.b + c0 * block.n;
    for (int64_t r0 = 0; r0 < block.rows; r0 += kTileRows) {
      const float* plus = block.plus == nullptr ? nullptr : block.plus + r0 * block.plus_stride + c0;
      const float* a = block.a + r0 * (block.a_step == 0 ? block.n : block.a_step);
      tiles_of(PanelProduct{a, block.a_step, b, block.n, block.c + r0 * block.c_stride + c0, block.c_stride, columns,
                            plus, block.plus_stride},
               least(kTileRows, block.rows - r0), (columns + kLanes - 1) / kLanes);
    }
  }
}

// NOLINTEND(misc-definitions-in-headers,modernize-loop-convert)
