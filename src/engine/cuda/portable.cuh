// The little that kernels need of CUDA, in two versions: nvcc's own, and (when a host compiler reads this) a warp and a
// block emulated by fibers, tests/engine/cuda/emulation.h. The kernels are written once and say nothing of either.
//
// A kernel includes kernels from this folder only through namespaces below DEEPSEARCH_DEVICE, so that one program can
// hold both versions.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define DS_KERNEL __global__
#define DS_DEVICE __device__ __forceinline__
#define DS_SHARED __shared__
#define DS_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define DS_UNROLL _Pragma("unroll")
#define DEEPSEARCH_DEVICE on_gpu

#else

#include "engine/cuda/emulation.h"

#define DS_KERNEL
#define DS_DEVICE inline
#define DS_SHARED static
#define DS_BOUNDS(threads, blocks)
#define DS_UNROLL
#define DEEPSEARCH_DEVICE on_host

#endif

namespace deepsearch::DEEPSEARCH_DEVICE {

constexpr int kWarp = 32;

// The two 16-bit types, as stored.
struct Bf16 {
  uint16_t bits;
};
struct Fp16 {
  uint16_t bits;
};

struct alignas(16) Vec16 {
  uint32_t word[4];
};
struct alignas(8) Vec8 {
  uint32_t word[2];
};

#ifdef __CUDACC__

DS_DEVICE int thread_index() {
  return static_cast<int>(threadIdx.x);
}
DS_DEVICE int n_threads() {
  return static_cast<int>(blockDim.x);
}
DS_DEVICE int block_index() {
  return static_cast<int>(blockIdx.x);
}
DS_DEVICE int block_index_y() {
  return static_cast<int>(blockIdx.y);
}
DS_DEVICE int n_blocks() {
  return static_cast<int>(gridDim.x);
}
DS_DEVICE void block_barrier() {
  __syncthreads();
}
template <class V>
DS_DEVICE V shuffle(V value, int lane) {
  return __shfl_sync(0xffffffffU, value, lane);
}
template <class V>
DS_DEVICE V shuffle_xor(V value, int mask) {
  return __shfl_xor_sync(0xffffffffU, value, mask);
}
DS_DEVICE bool warp_any(bool value) {
  return __any_sync(0xffffffffU, value) != 0;
}
DS_DEVICE void add_atomically(uint32_t* to, uint32_t value) {
  atomicAdd(to, value);
}
DS_DEVICE void add_atomically(unsigned long long* to, unsigned long long value) {
  atomicAdd(to, value);
}
// Kernels are launched so that their start may overlap the end of the kernel before (programmatic dependent launch).
// Nothing that kernel writes may be read, nothing that it reads written, before this returns.
DS_DEVICE void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

DS_DEVICE float to_float(float v) {
  return v;
}
DS_DEVICE float to_float(Bf16 v) {
  return __uint_as_float(static_cast<uint32_t>(v.bits) << 16U);
}
DS_DEVICE float to_float(Fp16 v) {
  return __half2float(__ushort_as_half(v.bits));
}
DS_DEVICE void store(float& to, float v) {
  to = v;
}
DS_DEVICE void store(Bf16& to, float v) {
  to.bits = __bfloat16_as_ushort(__float2bfloat16_rn(v));
}
DS_DEVICE void store(Fp16& to, float v) {
  to.bits = __half_as_ushort(__float2half_rn(v));
}
template <class V>
DS_DEVICE V load(const void* from) {
  return *static_cast<const V*>(from);
}
template <class V>
DS_DEVICE void save(void* to, const V& value) {
  *static_cast<V*>(to) = value;
}
// Read once by the whole grid: not kept in L1. `from` is never written while the kernel runs.
DS_DEVICE Vec16 load_streaming(const void* from) {
  const uint4 v = __ldcs(static_cast<const uint4*>(from));
  return {{v.x, v.y, v.z, v.w}};
}
DS_DEVICE uint32_t bits_of(float v) {
  return __float_as_uint(v);
}

#else

using emulation::add_atomically;
using emulation::block_barrier;
using emulation::block_index;
using emulation::block_index_y;
using emulation::n_blocks;
using emulation::n_threads;
using emulation::shuffle;
using emulation::shuffle_xor;
using emulation::thread_index;
using emulation::warp_any;

inline void wait_for_previous() {}

inline float float_of_bits(uint32_t bits) {
  float v = 0;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}
inline uint32_t bits_of(float v) {
  uint32_t bits = 0;
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}
inline float to_float(float v) {
  return v;
}
inline float to_float(Bf16 v) {
  return float_of_bits(static_cast<uint32_t>(v.bits) << 16U);
}
inline float to_float(Fp16 v) {
  return emulation::half_to_float(v.bits);
}
inline void store(float& to, float v) {
  to = v;
}
inline void store(Bf16& to, float v) {
  to.bits = emulation::float_to_bfloat(v);
}
inline void store(Fp16& to, float v) {
  to.bits = emulation::float_to_half(v);
}
template <class V>
inline V load(const void* from) {
  V value;
  std::memcpy(&value, emulation::aligned(from, alignof(V)), sizeof value);
  return value;
}
template <class V>
inline void save(void* to, const V& value) {
  std::memcpy(const_cast<void*>(emulation::aligned(to, alignof(V))), &value, sizeof value);
}
inline Vec16 load_streaming(const void* from) {
  return load<Vec16>(from);
}

#endif

DS_DEVICE int warp_index() {
  return thread_index() / kWarp;
}
DS_DEVICE int lane_index() {
  return thread_index() % kWarp;
}

// Two values as one 32-bit register, the first in the low half.
template <class T>
DS_DEVICE uint32_t pack(float low, float high) {
  T a;
  T b;
  store(a, low);
  store(b, high);
  return static_cast<uint32_t>(a.bits) | static_cast<uint32_t>(b.bits) << 16U;
}

// The same bits in every lane: each step adds the same two numbers on both sides.
DS_DEVICE float warp_sum(float value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

// Sum over the block, in every thread. `scratch`: one float a warp, free to be used again after the next barrier.
DS_DEVICE float block_sum(float value, float* scratch) {
  value = warp_sum(value);
  if (lane_index() == 0) scratch[warp_index()] = value;
  block_barrier();
  float sum = 0;
  for (int i = 0; i < n_threads() / kWarp; ++i) sum += scratch[i];
  return sum;
}

// c += a · b for one warp, m16n8k16, fp32 accumulation. With g = lane / 4 and t = lane % 4 a lane holds
//   a[0], a[1]  rows g and g + 8 of A at k = 2t, 2t + 1;  a[2], a[3] the same rows at k = 2t + 8, 2t + 9
//   b0, b1      column g of B at k = 2t, 2t + 1 and at k = 2t + 8, 2t + 9
//   c[0…1]      row g of C at columns 2t, 2t + 1;  c[2…3] row g + 8
// (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type").
#ifdef __CUDACC__
DS_DEVICE void multiply(Bf16 /*type*/, float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                        uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
DS_DEVICE void multiply(Fp16 /*type*/, float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                        uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
#else
template <class T>
void multiply(T /*type*/, float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  emulation::multiply(c, {a0, a1, a2, a3, b0, b1}, [](uint16_t bits) { return to_float(T{bits}); });
}
#endif

}  // namespace deepsearch::DEEPSEARCH_DEVICE
