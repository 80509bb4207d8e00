// The emulation itself: what the kernels' tests stand on.
#include "engine/cuda/emulation.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"
#include "engine/cuda/portable.cuh"

namespace deepsearch::emulation {
namespace {

TEST(Emulation, BarriersOrderWritesAndReads) {
  std::vector<int> shared(64);
  std::vector<int> out(2 * 3 * 64);
  run({.x = 2, .y = 3}, 64, [&] {
    shared[static_cast<size_t>(thread_index())] = 100 * block_index_y() + 10 * block_index() + thread_index();
    block_barrier();
    const int other = shared[static_cast<size_t>(63 - thread_index())];
    out[static_cast<size_t>((block_index_y() * n_blocks() + block_index()) * n_threads() + thread_index())] = other;
    block_barrier();
  });
  for (int y = 0; y < 3; ++y) {
    for (int x = 0; x < 2; ++x) {
      for (int t = 0; t < 64; ++t) {
        EXPECT_EQ(out[static_cast<size_t>((y * 2 + x) * 64 + t)], 100 * y + 10 * x + 63 - t);
      }
    }
  }
}

TEST(Emulation, ShufflesAndVotesStayInTheWarp) {
  std::vector<int> sums(64);
  std::vector<int> votes(64);
  run({}, 64, [&] {
    int sum = thread_index();
    for (int mask = 16; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
    sums[static_cast<size_t>(thread_index())] = sum;
    votes[static_cast<size_t>(thread_index())] = warp_any(thread_index() == 40) ? 1 : 0;
  });
  for (int t = 0; t < 64; ++t) {
    EXPECT_EQ(sums[static_cast<size_t>(t)], t < 32 ? 496 : 496 + 32 * 32);
    EXPECT_EQ(votes[static_cast<size_t>(t)], t < 32 ? 0 : 1);
  }
}

TEST(Emulation, FindsThreadsThatMissABarrier) {
  EXPECT_THROW(run({}, 64,
                   [] {
                     if (thread_index() != 7) block_barrier();
                   }),
               Error);
  EXPECT_THROW(run({}, 32,
                   [] {
                     if (thread_index() % 2 == 0) shuffle(1, 0);
                   }),
               Error);
  int done = 0;
  run({}, 32, [&] { ++done; });  // it goes on working
  EXPECT_EQ(done, 32);
}

TEST(Emulation, FindsMisalignedVectors) {
  alignas(16) std::array<unsigned char, 32> bytes{};
  EXPECT_NO_THROW(aligned(bytes.data() + 16, 16));
  EXPECT_THROW(aligned(bytes.data() + 8, 16), Error);
}

// The fragments' layout as documented, filled and read element by element.
TEST(Emulation, TensorCoreProduct) {
  using on_host::Fp16;
  float a[16][16];
  float b[16][8];
  for (int i = 0; i < 16; ++i) {
    for (int k = 0; k < 16; ++k) a[i][k] = static_cast<float>(i * 3 % 7 - k % 5);
    for (int n = 0; n < 8; ++n) b[i][n] = static_cast<float>((i * n) % 11 - 4);
  }
  float c[16][8];
  run({}, 32, [&] {
    const int g = thread_index() / 4;
    const int t = thread_index() % 4;
    float out[4] = {1, 2, 3, 4};
    on_host::multiply(Fp16{}, out, on_host::pack<Fp16>(a[g][2 * t], a[g][2 * t + 1]),
                      on_host::pack<Fp16>(a[g + 8][2 * t], a[g + 8][2 * t + 1]),
                      on_host::pack<Fp16>(a[g][2 * t + 8], a[g][2 * t + 9]),
                      on_host::pack<Fp16>(a[g + 8][2 * t + 8], a[g + 8][2 * t + 9]),
                      on_host::pack<Fp16>(b[2 * t][g], b[2 * t + 1][g]),
                      on_host::pack<Fp16>(b[2 * t + 8][g], b[2 * t + 9][g]));
    for (int i = 0; i < 4; ++i) c[g + i / 2 * 8][2 * t + i % 2] = out[i] - static_cast<float>(i + 1);
  });
  for (int i = 0; i < 16; ++i) {
    for (int n = 0; n < 8; ++n) {
      float sum = 0;
      for (int k = 0; k < 16; ++k) sum += a[i][k] * b[k][n];
      EXPECT_EQ(c[i][n], sum) << i << "," << n;
    }
  }
}

TEST(Emulation, HalfPrecisionRoundsToEven) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_half(value), bits);
    if (std::isinf(value) || (bits & 0x7fff) >= 0x7bff) continue;
    const float next = half_to_float(static_cast<uint16_t>(bits + 1));
    const float middle = (value + next) / 2;
    ASSERT_EQ(float_to_half(middle), bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(float_to_half(std::nextafter(middle, next)), bits + 1);
    ASSERT_EQ(float_to_half(std::nextafter(middle, value)), bits);
  }
  EXPECT_EQ(float_to_half(65519.0F), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0F), 0x7c00);
  EXPECT_EQ(float_to_bfloat(1.00390625F), 0x3f80);  // halfway: to even
  EXPECT_EQ(float_to_bfloat(1.01171875F), 0x3f82);  // halfway: to even
  EXPECT_EQ(float_to_bfloat(1.004F), 0x3f81);
}

}  // namespace
}  // namespace deepsearch::emulation
