// Kernels: accuracy, and the same bits from every instruction set, at every number of rows and every cut.
#include "engine/native/kernels.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "core/rng.h"
#include "engine/native/packed_matrix.h"

namespace deepsearch::native {
namespace {

std::vector<float> noise(int64_t n, uint64_t key, double scale = 1.0) {
  RandomStream random(1, RngPurpose::kTests, key);
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<float>(scale * random.normal()));
  return values;
}

size_t at(int64_t i) {
  return static_cast<size_t>(i);
}

// A matrix [columns, k] packed, and its memory.
struct Packed {
  Packed(WeightStorage storage, int64_t columns, int64_t k, const std::vector<float>& values)
      : memory(at(PackedMatrix::bytes(storage, k, round_up(columns, kLanes) / kLanes)) + 64),
        matrix(storage, k, round_up(columns, kLanes) / kLanes, aligned()) {
    const std::vector<int64_t> shape = {columns, k};
    TensorView view;
    view.shape = shape;
    view.data = reinterpret_cast<const std::byte*>(values.data());
    view.count = columns * k;
    std::vector<float> row(at(k));
    matrix.pack(view, columns, 0, 1, row);
  }
  std::byte* aligned() { return memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64; }
  std::vector<std::byte> memory;
  PackedMatrix matrix;
};

TEST(Kernels, ExponentialIsAccurate) {
  for (const Kernels* kernels : runnable_kernels()) {
    for (float x = -86.0F; x <= 0.0F; x += 0.0371F) {
      const std::vector<float> in(19, x);
      std::vector<float> out(19, -1.0F);
      kernels->exp_shifted(in.data(), 19, 0.0F, 1.0F, out.data());
      const double exact = std::exp(static_cast<double>(x));
      ASSERT_NEAR(out[5] / exact, 1.0, 3e-7) << kernels->name << " at " << x;
      ASSERT_EQ(out[18], out[5]);
    }
    std::vector<float> in(16, 0.0F);
    in[3] = -1000.0F;
    std::vector<float> out(16);
    kernels->exp_shifted(in.data(), 16, 0.0F, 1.0F, out.data());
    EXPECT_EQ(out[0], 1.0F);
    EXPECT_EQ(out[3], 0.0F);
  }
}

// What a product is, by the definition in kernels.h: chains of fused operations, in one order.
std::vector<float> product_by_hand(WeightStorage storage, const std::vector<float>& a, int64_t rows, int64_t k,
                                   const Product& w, int64_t columns) {
  const int64_t per_lane = storage == WeightStorage::kFp32 ? 1 : storage == WeightStorage::kBf16 ? 2 : 4;
  const int64_t lines = (k + per_lane - 1) / per_lane;
  const auto value = [&](int64_t column, int64_t i) {
    const float& lane = w.w[(column / kLanes * lines + i / per_lane) * kLanes + column % kLanes];
    const auto word = std::bit_cast<uint32_t>(lane);
    if (storage == WeightStorage::kFp32) return lane;
    if (storage == WeightStorage::kInt8) {
      return static_cast<float>(static_cast<int8_t>(word >> (8 * (i % 4)))) * 16777216.0F;
    }
    return std::bit_cast<float>(word >> (16 * (i % 2)) << 16);
  };
  const int64_t group = storage == WeightStorage::kInt8 ? kInt8Group : k;
  const int64_t groups = (k + group - 1) / group;
  std::vector<float> out;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      float total = 0;
      for (int64_t g = 0; g < groups; ++g) {
        float sum = 0;
        for (int64_t i = g * group; i < std::min(k, (g + 1) * group); ++i) {
          sum = std::fma(a[at(r * k + i)], value(c, i), sum);
        }
        const float scale = w.scales == nullptr ? 1.0F : w.scales[(c / kLanes * groups + g) * kLanes + c % kLanes];
        total = w.scales == nullptr ? sum : std::fma(sum, scale, total);
      }
      out.push_back(total);
    }
  }
  return out;
}

TEST(Kernels, AProductsRowDoesNotDependOnItsCompany) {
  constexpr int64_t kPanels = 7;
  constexpr int64_t kColumns = kPanels * kLanes;
  constexpr int64_t kRows = 41;
  for (const int64_t k : {1, 37, 64, 150}) {
    const std::vector<float> a = noise(kRows * k, 1);
    const std::vector<float> values = noise(kColumns * k, 2);
    for (const WeightStorage storage : {WeightStorage::kFp32, WeightStorage::kBf16, WeightStorage::kInt8}) {
      const Packed packed(storage, kColumns, k, values);
      std::vector<float> c(at(kRows * kColumns));
      Product product{.a = a.data(), .a_stride = k, .c = c.data(), .c_stride = kColumns};
      packed.matrix.select(0, kPanels, product);
      const std::vector<float> expected = product_by_hand(storage, a, kRows, k, product, kColumns);
      for (const Kernels* kernels : runnable_kernels()) {
        for (int64_t rows = 1; rows <= kRows; ++rows) {
          std::fill(c.begin(), c.end(), 0.0F);
          product.rows = rows;
          product.output = rows % 2 == 0 ? Output::kAdd : Output::kStore;
          kernels->product[at(static_cast<int64_t>(storage))](product);
          ASSERT_EQ(std::memcmp(c.data(), expected.data(), at(rows * kColumns) * sizeof(float)), 0)
              << kernels->name << ", storage " << static_cast<int>(storage) << ", k " << k << ", " << rows << " rows";
        }
      }
    }
  }
}

TEST(Kernels, WhatBecomesOfAProduct) {
  constexpr int64_t kK = 20;
  constexpr int64_t kPanels = 6;
  constexpr int64_t kColumns = kPanels * kLanes;
  for (const int64_t rows : {1, 5, 9, 14}) {
    const std::vector<float> a = noise(rows * kK, 3);
    const Packed packed(WeightStorage::kFp32, kColumns, kK, noise(kColumns * kK, 4));
    const std::vector<float> bias = noise(kColumns, 5);
    const std::vector<float> before = noise(rows * kColumns, 6);
    Product product{.a = a.data(), .a_stride = kK, .rows = rows, .c_stride = kColumns};
    packed.matrix.select(0, kPanels, product);
    const std::vector<float> plain = product_by_hand(WeightStorage::kFp32, a, rows, kK, product, kColumns);
    std::vector<float> first_swiglu;
    for (const Kernels* kernels : runnable_kernels()) {
      std::vector<float> c = before;
      product.c = c.data();
      product.bias = bias.data();
      product.output = Output::kAdd;
      kernels->product[0](product);
      for (int64_t i = 0; i < rows * kColumns; ++i) {
        ASSERT_EQ(c[at(i)], before[at(i)] + (plain[at(i)] + bias[at(i % kColumns)]));
      }
      product.bias = nullptr;
      product.output = Output::kSwiglu;
      product.c_stride = kColumns / 2;
      kernels->product[0](product);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t j = 0; j < kColumns / 2; ++j) {
          const int64_t column = r * kColumns + j / kLanes * 2 * kLanes + j % kLanes;
          const double gate = plain[at(column)];
          const double exact = gate / (1 + std::exp(-gate)) * plain[at(column + kLanes)];
          ASSERT_NEAR(c[at(r * kColumns / 2 + j)], exact, 1e-6 + 1e-6 * std::abs(exact)) << kernels->name;
        }
      }
      c.resize(at(rows * kColumns / 2));
      if (first_swiglu.empty()) first_swiglu = c;
      EXPECT_EQ(c, first_swiglu) << kernels->name;
      product.c_stride = kColumns;
    }
  }
}

// Heads turned against doubles.
TEST(Kernels, HeadsAreNormalisedRotatedAndScaled) {
  for (const int64_t d : {2, 10, 32, 40, 64}) {
    constexpr int64_t kHeads = 3;
    const std::vector<float> x = noise(kHeads * d, 7);
    const std::vector<float> norm = noise(d, 8);
    std::vector<float> cosines;
    std::vector<float> sines;
    for (int64_t i = 0; i < d / 2; ++i) {
      cosines.push_back(std::cos(0.3F * static_cast<float>(i)));
      sines.push_back(std::sin(0.3F * static_cast<float>(i)));
    }
    for (const bool with_norm : {false, true}) {
      const HeadTurn turn{.head_dim = d,
                          .norm = with_norm ? norm.data() : nullptr,
                          .eps = 1e-5F,
                          .cosines = cosines.data(),
                          .sines = sines.data(),
                          .scale = 0.25F};
      std::vector<float> first;
      for (const Kernels* kernels : runnable_kernels()) {
        std::vector<float> out(at(kHeads * d) + 1, 77.0F);
        kernels->turn_heads(turn, x.data(), kHeads, out.data());
        ASSERT_EQ(out.back(), 77.0F) << "wrote past the end";
        if (first.empty()) first = out;
        EXPECT_EQ(out, first) << kernels->name;
      }
      for (int64_t h = 0; h < kHeads; ++h) {
        std::vector<double> head(x.begin() + h * d, x.begin() + (h + 1) * d);
        if (with_norm) {
          const double squares = std::inner_product(head.begin(), head.end(), head.begin(), 0.0);
          for (int64_t i = 0; i < d; ++i) {
            head[at(i)] *= norm[at(i)] / std::sqrt(squares / static_cast<double>(d) + 1e-5);
          }
        }
        for (int64_t i = 0; i < d / 2; ++i) {
          const double a = head[at(i)];
          const double b = head[at(i + d / 2)];
          EXPECT_NEAR(first[at(h * d + i)], 0.25 * (a * cosines[at(i)] - b * sines[at(i)]), 1e-6);
          EXPECT_NEAR(first[at(h * d + i + d / 2)], 0.25 * (b * cosines[at(i)] + a * sines[at(i)]), 1e-6);
        }
      }
    }
  }
}

// Attention's three steps over blocks: each row by itself, all rows together, from every instruction set.
TEST(Kernels, AttentionsStepsDoNotDependOnRowsOrInstructionSet) {
  constexpr int64_t kRows = 29;
  const std::vector<int32_t> table = {3, 0, 4, 1, 5};
  const auto blocks = static_cast<int64_t>(table.size());
  for (const int64_t d : {10, 32, 80}) {
    const int64_t width = round_up(d, kLanes);
    const std::vector<float> q = noise(kRows * d, 1, 0.5);
    const std::vector<float> keys = noise(6 * d * kLanes, 2);
    const std::vector<float> values = noise(6 * width * kLanes, 3);
    const BlockView k{keys.data(), d * kLanes, table.data(), 0};
    const BlockView v{values.data(), width * kLanes, table.data(), 0};
    const int64_t positions = blocks * kLanes - 5;
    const int64_t stride = blocks * kLanes;
    const BlockView ahead{values.data(), width * kLanes, table.data(), 3};  // no more than a hint
    std::vector<float> first;
    for (const Kernels* kernels : runnable_kernels()) {
      for (const int64_t together : {int64_t{1}, int64_t{2}, int64_t{5}, int64_t{12}, kRows}) {
        std::vector<float> weights(at(kRows * stride));
        std::vector<float> out(at(kRows * width), 0.0F);
        for (int64_t row = 0; row < kRows; row += together) {
          const int64_t n = std::min(together, kRows - row);
          kernels->scores(q.data() + row * d, n, d, k, blocks, weights.data() + row * stride, stride, ahead);
          std::vector<float> sums;
          for (int64_t r = row; r < row + n; ++r) {
            sums.push_back(kernels->softmax(weights.data() + r * stride, positions, stride));
          }
          // In two parts, as a shared prefix and a tail are.
          kernels->mix(weights.data() + row * stride, stride, n, v, 32, width, out.data() + row * width, ahead);
          const BlockView rest{values.data(), width * kLanes, table.data() + 2, 0};
          kernels->mix(weights.data() + row * stride + 32, stride, n, rest, positions - 32, width,
                       out.data() + row * width, {});
          for (int64_t r = row; r < row + n; ++r) {
            kernels->divide(out.data() + r * width, width, sums[at(r - row)], out.data() + r * width);
          }
        }
        if (first.empty()) first = out;
        ASSERT_EQ(out, first) << kernels->name << ", " << together << " rows together";
      }
    }
    // And it is attention: one row by hand.
    constexpr int64_t kRow = 17;
    std::vector<double> weight;
    for (int64_t p = 0; p < positions; ++p) {
      double s = 0;
      for (int64_t i = 0; i < d; ++i) {
        s += static_cast<double>(q[at(kRow * d + i)]) *
             static_cast<double>(keys[at((table[at(p / 16)] * d + i) * kLanes + p % 16)]);
      }
      weight.push_back(std::exp(s));
    }
    const double sum = std::accumulate(weight.begin(), weight.end(), 0.0);
    for (int64_t i = 0; i < d; ++i) {
      double expected = 0;
      for (int64_t p = 0; p < positions; ++p) {
        expected +=
            weight[at(p)] / sum * static_cast<double>(values[at((table[at(p / 16)] * kLanes + p % 16) * width + i)]);
      }
      EXPECT_NEAR(first[at(kRow * width + i)], expected, 1e-5);
    }
  }
}

TEST(Kernels, SearchesOverLogits) {
  for (const Kernels* kernels : runnable_kernels()) {
    for (const int64_t n : {1, 15, 16, 17, 64, 100, 1000}) {
      std::vector<float> x = noise(n, 9);
      for (float& v : x) v = std::round(v * 4) / 4;  // ties
      const auto most = std::max_element(x.begin(), x.end());
      EXPECT_EQ(kernels->largest(x.data(), n), *most) << kernels->name;
      EXPECT_EQ(kernels->find(x.data(), n, *most), most - x.begin()) << kernels->name;
      EXPECT_EQ(kernels->find(x.data(), n, 1e9F), n) << kernels->name;
      std::vector<uint32_t> expected;
      for (int64_t i = 0; i < n; ++i) {
        if (x[at(i)] >= 0.25F) expected.push_back(static_cast<uint32_t>(i));
      }
      std::vector<uint32_t> found(at(n + kLanes));
      found.resize(at(kernels->find_at_least(x.data(), n, 0.25F, found.data())));
      EXPECT_EQ(found, expected) << kernels->name;
    }
  }
}

TEST(PackedMatrix, ColumnsComeBack) {
  constexpr int64_t kColumns = 37;
  constexpr int64_t kK = 150;
  const std::vector<float> values = noise(kColumns * kK, 10, 0.1);
  std::vector<float> row(at(kK));
  for (const WeightStorage storage : {WeightStorage::kFp32, WeightStorage::kBf16, WeightStorage::kInt8}) {
    const Packed packed(storage, kColumns, kK, values);
    for (int64_t c = 0; c < kColumns; ++c) {
      packed.matrix.column(c, row.data());
      for (int64_t first = 0; first < kK; first += kInt8Group) {
        const int64_t last = std::min(kK, first + kInt8Group);
        float largest = 0;
        for (int64_t i = first; i < last; ++i) largest = std::max(largest, std::abs(values[at(c * kK + i)]));
        for (int64_t i = first; i < last; ++i) {
          const float value = values[at(c * kK + i)];
          // bf16 keeps 8 bits; int8 rounds to 254 steps across twice the group's largest.
          const float bound = storage == WeightStorage::kFp32   ? 0.0F
                              : storage == WeightStorage::kBf16 ? std::abs(value) / 256.0F
                                                                : largest / 254.0F * 1.0001F;
          ASSERT_LE(std::abs(row[at(i)] - value), bound) << static_cast<int>(storage);
        }
      }
    }
  }
}

TEST(PackedMatrix, Bf16RoundsToNearestTiesToEven) {
  const std::vector<float> values = {1.0F, 1.00390625F, 1.01171875F, 1.0039064F, -1.00390625F, 3.4e38F, 0.0F, -0.0F};
  const Packed packed(WeightStorage::kBf16, 1, 8, values);
  std::vector<float> row(8);
  packed.matrix.column(0, row.data());
  EXPECT_EQ(row[0], 1.0F);
  EXPECT_EQ(row[1], 1.0F);        // halfway: to even, down
  EXPECT_EQ(row[2], 1.015625F);   // halfway: to even, up
  EXPECT_EQ(row[3], 1.0078125F);  // above halfway
  EXPECT_EQ(row[4], -1.0F);
  EXPECT_TRUE(std::isinf(row[5]));  // past the largest bf16
  EXPECT_TRUE(std::signbit(row[7]));
}

}  // namespace
}  // namespace deepsearch::native
