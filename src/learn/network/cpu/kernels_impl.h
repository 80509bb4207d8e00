// The kernels once, over a 16-lane vector type `V` that the including file defines (with kTileRows and kTileVectors,
// the register tile). Included by one .cpp per instruction set, inside an anonymous namespace and after the compiler
// was told the target; includes nothing but its own parts, so that no library code is compiled for that target.
// NOLINTBEGIN(misc-definitions-in-headers,modernize-loop-convert): one copy an instruction set, index loops by register

#include "engine/native/exp_impl.h"

constexpr int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}
constexpr int64_t most(int64_t a, int64_t b) {
  return a > b ? a : b;
}

// Lanes first … first + 15 of n values; zeros past the end.
DEEPSEARCH_INLINE V lanes_of(const float* x, int64_t first, int64_t n) {
  return n - first >= kLanes ? V::load(x + first) : V::load_first(x + first, n - first);
}
DEEPSEARCH_INLINE void put_lanes(V value, float* x, int64_t first, int64_t n) {
  if (n - first >= kLanes) {
    value.store(x + first);
  } else {
    value.store_first(x + first, n - first);
  }
}

// acc[r][v] = Σ_k a(r, k) · b[k · step + v · across], one chain of fused multiply-adds over k an element. a(r, k) is
// a[r · kRow + k · kStep]: distances known to the compiler, so that a tile's rows need one register.
template <int64_t kRow, int64_t kStep, int kRows, int kVectors>
DEEPSEARCH_INLINE void multiply(const float* a, const float* b, int64_t step, int64_t across, int64_t n,
                                V (&acc)[kRows][kVectors]) {
  DEEPSEARCH_UNROLL
  for (int r = 0; r < kRows; ++r) {
    DEEPSEARCH_UNROLL
    for (int v = 0; v < kVectors; ++v) acc[r][v] = V::zero();
  }
  for (int64_t k = 0; k < n; ++k, a += kStep, b += step) {
    V line[kVectors];
    DEEPSEARCH_UNROLL
    for (int v = 0; v < kVectors; ++v) line[v] = V::load(b + v * across);
    DEEPSEARCH_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V x = V::broadcast(a[r * kRow]);
      DEEPSEARCH_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[r][v] = V::fma(x, line[v], acc[r][v]);
    }
  }
}

// The same with rows that lie row_step apart, a(r, k) at a[r · row_step + k]: a base for every three, whose others the
// processor's addresses reach.
template <int kRows, int kVectors>
DEEPSEARCH_INLINE void multiply_rows(const float* a, int64_t row_step, const float* b, int64_t step, int64_t across,
                                     int64_t n, V (&acc)[kRows][kVectors]) {
  constexpr int kBases = (kRows + 2) / 3;
  const float* base[kBases];
  DEEPSEARCH_UNROLL
  for (int i = 0; i < kBases; ++i) base[i] = a + 3 * i * row_step;
  DEEPSEARCH_UNROLL
  for (int r = 0; r < kRows; ++r) {
    DEEPSEARCH_UNROLL
    for (int v = 0; v < kVectors; ++v) acc[r][v] = V::zero();
  }
  for (int64_t k = 0; k < n; ++k, b += step) {
    V line[kVectors];
    DEEPSEARCH_UNROLL
    for (int v = 0; v < kVectors; ++v) line[v] = V::load(b + v * across);
    DEEPSEARCH_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V x = V::broadcast(base[r / 3][r % 3 * row_step]);
      DEEPSEARCH_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[r][v] = V::fma(x, line[v], acc[r][v]);
    }
    DEEPSEARCH_UNROLL
    for (int i = 0; i < kBases; ++i) ++base[i];
  }
}

// All vectors of kRows rows: product.tile<rows, vectors>(vector).
template <int kRows, class Product>
DEEPSEARCH_INLINE void tiles_across(const Product& product, int64_t vectors) {
  constexpr int kWide = kRows * 2 <= kTileRows ? 2 * kTileVectors : kTileVectors;
  int64_t v = 0;
  for (; v + kWide <= vectors; v += kWide) product.template tile<kRows, kWide>(v);
  if constexpr (kWide > 1) {
    for (; v < vectors; ++v) product.template tile<kRows, 1>(v);
  }
}
// For 1 ≤ rows ≤ kTileRows.
template <class Product, int kRows = kTileRows>
DEEPSEARCH_INLINE void tiles_of(const Product& product, int64_t rows, int64_t vectors) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      tiles_across<kRows>(product, vectors);
    } else {
      tiles_of<Product, kRows - 1>(product, rows, vectors);
    }
  }
}

#include "learn/network/cpu/attention_impl.h"
#include "learn/network/cpu/gemm_impl.h"

constexpr Kernels table_of(const char* name) {
  return {.name = name,
          .tile_rows = kTileRows,
          .tile_columns = kTileVectors * kLanes,
          .pack_rows = pack_rows,
          .pack_columns = pack_columns,
          .multiply_panels = multiply_panels,
          .pack_forward = pack_forward,
          .pack_backward = pack_backward,
          .attend_forward = attend_forward,
          .attend_backward = attend_backward};
}

// NOLINTEND(misc-definitions-in-headers,modernize-loop-convert)
