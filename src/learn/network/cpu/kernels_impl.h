// The kernels once, over a 16-lane vector type `V` that the including file defines (with kTileRows and kTileVectors,
// the register tile). Included by one .cpp per instruction set, inside an anonymous namespace and after the compiler
// was told the target; includes nothing but its own parts, so that no library code is compiled for that target.
// NOLINTBEGIN(misc-definitions-in-headers,modernize-loop-convert): one copy an instruction set, index loops by register

#if defined(__clang__)
#define DEEPSEARCH_UNROLL _Pragma("clang loop unroll(full)")
#else
#define DEEPSEARCH_UNROLL _Pragma("GCC unroll 16")
#endif
#define DEEPSEARCH_INLINE __attribute__((always_inline)) inline

constexpr int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}
constexpr int64_t most(int64_t a, int64_t b) {
  return a > b ? a : b;
}

// exp by 2^n · p(r), r = x − n·ln 2 in [−0.35, 0.35], p of degree 6 (relative error below 2e-7); 0 below −86.6.
DEEPSEARCH_INLINE V exp_lanes(V x) {
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

constexpr Kernels table_of(const char* name) {
  return {.name = name,
          .pack_forward = pack_forward,
          .pack_backward = pack_backward,
          .attend_forward = attend_forward,
          .attend_backward = attend_backward};
}

// NOLINTEND(misc-definitions-in-headers,modernize-loop-convert)
