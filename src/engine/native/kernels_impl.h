// The kernels once, over a 16-lane vector type `V` and its double counterpart `D` that the including file defines (with
// kAccumulators, the vectors that its registers hold beside a product's operands, and kTileRows, the tallest tile).
// Included by one .cpp per instruction set, inside an anonymous namespace and after the compiler was told the target;
// includes nothing but its own parts, so that no library code is compiled for that target.
// NOLINTBEGIN(misc-definitions-in-headers,modernize-loop-convert): one copy an instruction set, index loops by register

#include "engine/native/exp_impl.h"

// Over the above:
#include "engine/native/accumulate_impl.h"
#include "engine/native/attention_impl.h"
#include "engine/native/logits_impl.h"
#include "engine/native/product_impl.h"

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

void turn_heads(const HeadTurn& turn, const float* in, int64_t heads, float* out) {
  const int64_t half = turn.head_dim / 2;
  const V scale = V::broadcast(turn.scale);
  for (int64_t h = 0; h < heads; ++h, in += turn.head_dim, out += turn.head_dim) {
    V norm = V::broadcast(1.0F);
    if (turn.norm != nullptr) {
      V squares = V::zero();
      for (int64_t i = 0; i < turn.head_dim; i += kLanes) {
        const V value = lanes_of(in, i, turn.head_dim);
        squares = V::fma(value, value, squares);
      }
      const float mean = squares.sum() / static_cast<float>(turn.head_dim);
      norm = V::broadcast(1.0F / __builtin_sqrtf(mean + turn.eps));
    }
    for (int64_t i = 0; i < half; i += kLanes) {
      V low = lanes_of(in, i, half);
      V high = lanes_of(in + half, i, half);
      if (turn.norm != nullptr) {
        low = V::mul(V::mul(low, norm), lanes_of(turn.norm, i, half));
        high = V::mul(V::mul(high, norm), lanes_of(turn.norm + half, i, half));
      }
      const V cosine = lanes_of(turn.cosines, i, half);
      const V sine = lanes_of(turn.sines, i, half);
      const V turned_low = V::fma(low, cosine, V::sub(V::zero(), V::mul(high, sine)));
      const V turned_high = V::fma(high, cosine, V::mul(low, sine));
      put_lanes(V::mul(turned_low, scale), out, i, half);
      put_lanes(V::mul(turned_high, scale), out + half, i, half);
    }
  }
}

float fma_loop(int64_t n) {
  constexpr int kChains = kAccumulators > 12 ? 12 : kAccumulators;
  // Different in every lane, so that no chain is found to be another's copy.
  float start[kChains * kLanes];
  for (int64_t i = 0; i < kChains * kLanes; ++i) start[i] = static_cast<float>(i);
  V acc[kChains];
  DEEPSEARCH_UNROLL
  for (int c = 0; c < kChains; ++c) acc[c] = V::load(start + c * kLanes);
  const V a = V::broadcast(0.999F);
  const V b = V::broadcast(0.001F);
  for (int64_t i = 0; i < n; i += kChains) {
    DEEPSEARCH_UNROLL
    for (int c = 0; c < kChains; ++c) acc[c] = V::fma(acc[c], a, b);
  }
  V sum = V::zero();
  for (int c = 0; c < kChains; ++c) sum = V::add(sum, acc[c]);
  return sum.sum();
}

float read_loop(const float* x, int64_t n) {
  V acc[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  for (int64_t i = 0; i < n; i += 4 * kLanes) {
    DEEPSEARCH_UNROLL
    for (int c = 0; c < 4; ++c) acc[c] = V::add(acc[c], V::load(x + i + c * kLanes));
    __builtin_prefetch(x + i + 512);
    __builtin_prefetch(x + i + 528);
    __builtin_prefetch(x + i + 544);
    __builtin_prefetch(x + i + 560);
  }
  return V::add(V::add(acc[0], acc[1]), V::add(acc[2], acc[3])).sum();
}

constexpr Kernels table_of(const char* name) {
  return {.name = name,
          .product = {product<Fp32Values>, product<Bf16Values>, product<Int8Values>},
          .rms_norm = rms_norm,
          .turn_heads = turn_heads,
          .scores = scores,
          .softmax = softmax,
          .mix = mix,
          .divide = divide,
          .largest = largest,
          .find = find,
          .find_at_least = find_at_least,
          .exp_shifted = exp_shifted,
          .exp_sums = exp_sums,
          .fma_loop = fma_loop,
          .read_loop = read_loop};
}

// NOLINTEND(misc-definitions-in-headers,modernize-loop-convert)
