// exp over the including file's vector type V, and how loops over registers are written; for kernels of the engine and
// of the learner.
// NOLINTBEGIN(misc-definitions-in-headers): one copy an instruction set

#if defined(__clang__)
#define DEEPSEARCH_UNROLL _Pragma("clang loop unroll(full)")
#else
#define DEEPSEARCH_UNROLL _Pragma("GCC unroll 16")
#endif
#define DEEPSEARCH_INLINE __attribute__((always_inline)) inline

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

// NOLINTEND(misc-definitions-in-headers)
