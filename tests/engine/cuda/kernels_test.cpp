// The kernels around attention, each against plain loops in double precision. The bound on an error is what rounding
// the operands' products and the result may cost: every sum is in fp32.
#include <cmath>

#include "engine/cuda/device_fixture.h"

namespace deepsearch::testing {
namespace {

using cuda::Epilogue;

class KernelTest : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, KernelTest, all_cases(), case_name);

TEST_P(KernelTest, EmbeddingWidensRows) {
  Numbers numbers(1);
  const int width = 96;
  const std::vector<float> table = numbers.normals(7 * width, 2, type());
  const std::vector<int32_t> tokens = {6, 0, 3, 3};
  const auto table_on = upload_typed(table);
  const auto tokens_on = upload(tokens);
  const auto x = upload(std::vector<float>(4 * width, NAN));
  device_->kernels().embed(
      {.tokens = tokens_on.as<int32_t>(), .table = table_on.data(), .x = x.as<float>(), .rows = 4, .padded = width});
  const auto got = download<float>(x.data(), 4 * width);
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i], table[static_cast<size_t>(tokens[i / width]) * width + i % width]);
  }
}

TEST_P(KernelTest, NormOfGatheredRows) {
  Numbers numbers(2);
  const int width = 1003;
  const int padded = 1024;
  std::vector<float> x = numbers.normals(5 * padded, 3);
  const std::vector<float> gain = numbers.normals(width, 1);
  const std::vector<int32_t> rows = {4, 1, 1};
  const auto x_on = upload(x);
  const auto gain_on = upload(gain);
  const auto rows_on = upload(rows);
  const auto out = upload_typed(std::vector<float>(3 * padded, 9));
  device_->kernels().norm({.x = x_on.as<float>(),
                           .gain = gain_on.as<float>(),
                           .row_of = rows_on.as<int32_t>(),
                           .out = out.data(),
                           .rows = 3,
                           .width = width,
                           .padded = padded,
                           .eps = 1e-5F});
  const auto got = download_typed(out.data(), 3 * padded);
  for (size_t r = 0; r < 3; ++r) {
    const float* row = x.data() + static_cast<size_t>(rows[r]) * padded;
    double squares = 0;
    for (int i = 0; i < width; ++i) squares += double{row[i]} * row[i];
    const double scale = 1 / std::sqrt(squares / width + 1e-5);
    for (int i = 0; i < padded; ++i) {
      const double want = i < width ? row[i] * scale * gain[static_cast<size_t>(i)] : 0;
      EXPECT_NEAR(got[r * padded + static_cast<size_t>(i)], want, std::abs(want) * (rounding_of(type()) + 1e-6) + 1e-9);
    }
  }
}

TEST_P(KernelTest, NormAddsABiasFirst) {
  Numbers numbers(3);
  const int width = 64;
  const std::vector<float> x = numbers.normals(2 * width, 1);
  const std::vector<float> add = numbers.normals(width, 1);
  const auto x_on = upload(x);
  const auto add_on = upload(add);
  const auto gain_on = upload(std::vector<float>(width, 1));
  const auto out = upload_typed(std::vector<float>(2 * width, 0));
  device_->kernels().norm({.x = x_on.as<float>(),
                           .add = add_on.as<float>(),
                           .gain = gain_on.as<float>(),
                           .out = out.data(),
                           .rows = 2,
                           .width = width,
                           .padded = width,
                           .eps = 0});
  const auto got = download<float>(x_on.data(), 2 * width);
  const auto normed = download_typed(out.data(), 2 * width);
  for (size_t r = 0; r < 2; ++r) {
    double squares = 0;
    for (size_t i = 0; i < width; ++i) squares += std::pow(double{x[r * width + i]} + add[i], 2);
    for (size_t i = 0; i < width; ++i) {
      EXPECT_EQ(got[r * width + i], x[r * width + i] + add[i]);
      const double want = (double{x[r * width + i]} + add[i]) / std::sqrt(squares / width);
      EXPECT_NEAR(normed[r * width + i], want, std::abs(want) * (rounding_of(type()) + 1e-6) + 1e-6);
    }
  }
}

double silu(double x) {
  return x / (1 + std::exp(-x));
}

TEST_P(KernelTest, SwiGluOfGroupedColumns) {
  Numbers numbers(4);
  const size_t width = 320;
  const std::vector<float> gate_up = numbers.normals(3 * 2 * width, 3, type());
  const auto in = upload_typed(gate_up);
  const auto out = upload_typed(std::vector<float>(3 * width, 0));
  device_->kernels().swiglu({.gate_up = in.data(), .out = out.data(), .rows = 3, .padded = static_cast<int>(width)});
  const auto got = download_typed(out.data(), 3 * width);
  for (size_t r = 0; r < 3; ++r) {
    for (size_t i = 0; i < width; ++i) {
      const size_t gate = r * 2 * width + i / 8 * 16 + i % 8;
      const double want = silu(gate_up[gate]) * gate_up[gate + 8];
      EXPECT_NEAR(got[r * width + i], want, std::abs(want) * (rounding_of(type()) + 1e-6) + 1e-7);
    }
  }
}

// Every epilogue, for row counts around the kernels' tiles and widths around the warps' steps.
TEST_P(KernelTest, RowsGemm) {
  Numbers numbers(5);
  struct Size {
    int rows, n, k;
  };
  for (const auto& [rows, n, k] :
       {Size{1, 16, 32}, Size{3, 48, 96}, Size{8, 32, 288}, Size{9, 16, 1056}, Size{17, 16, 64}, Size{33, 32, 320}}) {
    const auto room = static_cast<size_t>((rows + 63) / 64 * 64);
    const std::vector<float> x = numbers.normals(room * static_cast<size_t>(k), 1, type());
    const std::vector<float> w = numbers.normals(static_cast<size_t>(n) * static_cast<size_t>(k), 1, type());
    const auto x_on = upload_typed(x);
    const auto w_on = upload_typed(w);
    for (const Epilogue epilogue : {Epilogue::kStore, Epilogue::kStoreFloat, Epilogue::kAddFloat, Epilogue::kSwiGlu}) {
      const bool is_float = epilogue == Epilogue::kStoreFloat || epilogue == Epilogue::kAddFloat;
      const int columns = epilogue == Epilogue::kSwiGlu ? n / 2 : n;
      const int stride = columns + 8;
      const std::vector<float> before =
          numbers.normals(room * static_cast<size_t>(stride), 1, is_float ? DType::kF32 : type());
      const auto out = is_float ? upload(before) : upload_typed(before);
      device_->kernels().rows_gemm({.x = x_on.data(),
                                    .weights = w_on.data(),
                                    .out = out.data(),
                                    .rows = rows,
                                    .n = n,
                                    .k = k,
                                    .stride = stride,
                                    .epilogue = epilogue});
      const auto got =
          is_float ? download<float>(out.data(), before.size()) : download_typed(out.data(), before.size());
      const auto dot = [&](size_t row, size_t output) {
        double sum = 0;
        for (size_t i = 0; i < static_cast<size_t>(k); ++i) {
          sum += double{x[row * static_cast<size_t>(k) + i]} * w[output * static_cast<size_t>(k) + i];
        }
        return sum;
      };
      for (size_t row = 0; row < room; ++row) {
        for (size_t i = 0; i < static_cast<size_t>(stride); ++i) {
          const size_t at = row * static_cast<size_t>(stride) + i;
          if (row >= static_cast<size_t>(rows) || i >= static_cast<size_t>(columns)) {
            ASSERT_EQ(got[at], before[at]) << "written beside the result";
            continue;
          }
          double want = 0;
          double magnitude = 1;
          if (epilogue == Epilogue::kSwiGlu) {
            const double up = dot(row, i / 8 * 16 + i % 8 + 8);
            want = silu(dot(row, i / 8 * 16 + i % 8)) * up;
            magnitude = 1 + std::abs(up);
          } else {
            want = dot(row, i) + (epilogue == Epilogue::kAddFloat ? before[at] : 0.0F);
          }
          // fp32 sums of k products of size 1.
          ASSERT_NEAR(got[at], want,
                      (is_float ? 0 : std::abs(want) * rounding_of(type())) + 2e-6 * std::sqrt(k) * magnitude * 4)
              << rows << "×" << n << "×" << k << " row " << row << " output " << i;
        }
      }
    }
  }
}

// A row's result is the same bits alone and among others, at any place.
TEST_P(KernelTest, RowsGemmDoesNotDependOnTheOtherRows) {
  Numbers numbers(6);
  const int n = 32;
  const int k = 608;
  const std::vector<float> w = numbers.normals(n * k, 1, type());
  const std::vector<float> x = numbers.normals(64 * k, 1, type());
  const auto w_on = upload_typed(w);
  const auto run = [&](const std::vector<float>& rows_of_x, int rows) {
    std::vector<float> padded = rows_of_x;
    padded.resize(64 * k);
    const auto x_on = upload_typed(padded);
    const auto out = upload(std::vector<float>(64 * n, 0));
    device_->kernels().rows_gemm({.x = x_on.data(),
                                  .weights = w_on.data(),
                                  .out = out.data(),
                                  .rows = rows,
                                  .n = n,
                                  .k = k,
                                  .stride = n,
                                  .epilogue = Epilogue::kStoreFloat});
    return download<float>(out.data(), static_cast<size_t>(rows) * n);
  };
  const auto all = run(x, 64);
  for (const int rows : {1, 5, 8, 12, 16, 30}) {
    const int first = 64 - rows;
    const auto some = run({x.begin() + first * k, x.end()}, rows);
    EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin() + first * n)) << rows;
  }
}

TEST_P(KernelTest, GemmOfTheLibrary) {
  Numbers numbers(7);
  const int64_t rows = 70;
  const int64_t n = 48;
  const int64_t k = 96;
  const std::vector<float> x = numbers.normals(128 * k, 1, type());
  const std::vector<float> w = numbers.normals(n * k, 1, type());
  const auto x_on = upload_typed(x);
  const auto w_on = upload_typed(w);
  for (const int mode : {0, 1, 2}) {
    const std::vector<float> before = numbers.normals(128 * n, 1);
    const auto out = mode == 0 ? upload_typed(before) : upload(before);
    device_->gemm({.x = x_on.data(),
                   .weights = w_on.data(),
                   .out = out.data(),
                   .rows = rows,
                   .n = n,
                   .k = k,
                   .stride = n,
                   .float_out = mode > 0,
                   .accumulate = mode == 2});
    const auto got = mode == 0 ? download_typed(out.data(), before.size()) : download<float>(out.data(), before.size());
    for (int64_t i = 0; i < rows * n; ++i) {
      double want = mode == 2 ? before[static_cast<size_t>(i)] : 0.0F;
      for (int64_t j = 0; j < k; ++j)
        want += double{x[static_cast<size_t>(i / n * k + j)]} * w[static_cast<size_t>(i % n * k + j)];
      ASSERT_NEAR(got[static_cast<size_t>(i)], want, (mode == 0 ? std::abs(want) * rounding_of(type()) : 0) + 1e-4);
    }
  }
}

// Values of a weight tensor in each of the three types, moved apart by rows and columns.
TEST_P(KernelTest, PlaceConvertsAndSpreads) {
  Numbers numbers(8);
  for (const DType from : {DType::kF32, DType::kF16, DType::kBF16}) {
    const std::vector<float> values = numbers.normals(6 * 10, 1, from);
    const auto in = upload(encode(from, values));
    const auto out = upload_typed(std::vector<float>(40 * 32, 0));
    device_->kernels().place({.from = in.data(),
                              .type = from,
                              .to = out.data(),
                              .rows = 6,
                              .columns = 10,
                              .source_row = 3,
                              .first_row = 2,
                              .run = 4,
                              .run_stride = 16,
                              .column_run = 5,
                              .column_stride = 8,
                              .to_columns = 32});
    const auto got = download_typed(out.data(), 40 * 32);
    std::vector<float> want(40 * 32, 0);
    for (size_t r = 0; r < 6; ++r) {
      for (size_t c = 0; c < 10; ++c) {
        const size_t row = 2 + (r + 3) / 4 * 16 + (r + 3) % 4;
        want[row * 32 + c / 5 * 8 + c % 5] = round_to(type(), values[r * 10 + c]);
      }
    }
    EXPECT_EQ(got, want);
  }
}

}  // namespace
}  // namespace deepsearch::testing
