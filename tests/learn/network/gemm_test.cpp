#include "learn/network/cpu/gemm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace deepsearch::network {
namespace {

struct Size {
  int64_t m, n, k;
};
const std::vector<Size>& sizes() {
  static const std::vector<Size> all = {{1, 1, 1},     {5, 7, 3},    {12, 32, 64},  {13, 33, 257},
                                        {200, 70, 40}, {400, 48, 9}, {30, 50, 900}, {193, 96, 513}};
  return all;
}

// Every combination of transposed operands, and of what is added.
TEST(Gemm, AgreesWithDouble) {
  at::manual_seed(1);
  for (const Size& s : sizes()) {
    for (int form = 0; form < 12; ++form) {
      const bool a_across = form % 2 == 1;
      const bool b_across = form / 2 % 2 == 1;
      const int plus = form / 4;  // none, a row, the result so far
      const at::Tensor a = at::randn({a_across ? s.k : s.m, (a_across ? s.m : s.k) + 3});
      const at::Tensor b = at::randn({b_across ? s.n : s.k, (b_across ? s.k : s.n) + 5});
      at::Tensor c = at::randn({s.m, s.n + 2});
      const at::Tensor row = at::randn({s.n});
      const auto used = [](const at::Tensor& x, bool across, int64_t columns) {
        const at::Tensor part = x.narrow(1, 0, columns).to(at::kDouble);
        return across ? part.t() : part;
      };
      at::Tensor expected =
          at::matmul(used(a, a_across, a_across ? s.m : s.k), used(b, b_across, b_across ? s.k : s.n));
      if (plus == 1) expected = expected + row;
      if (plus == 2) expected = expected + c.narrow(1, 0, s.n);
      const at::Tensor rest = c.narrow(1, s.n, 2).clone();
      const auto matrix = [](const at::Tensor& x, bool across) {
        const int64_t stride = x.stride(0);
        return ConstMatrix{x.data_ptr<float>(), across ? 1 : stride, across ? stride : 1};
      };
      at::Tensor first;
      const at::Tensor start = c.clone();
      for (const Kernels* kernels : runnable_kernels()) {
        c.copy_(start);
        gemm({.m = s.m,
              .n = s.n,
              .k = s.k,
              .a = matrix(a, a_across),
              .b = matrix(b, b_across),
              .c = c.data_ptr<float>(),
              .c_stride = c.stride(0),
              .plus = plus == 0   ? nullptr
                      : plus == 1 ? row.data_ptr<float>()
                                  : c.data_ptr<float>(),
              .plus_stride = plus == 2 ? c.stride(0) : 0},
             *kernels);
        const double error = (c.narrow(1, 0, s.n) - expected).abs().max().item<double>();
        EXPECT_LT(error, 2e-6 * (static_cast<double>(s.k) + 5)) << s.m << " " << s.n << " " << s.k << " " << form;
        EXPECT_TRUE(c.narrow(1, s.n, 2).equal(rest));
        if (!first.defined()) first = c.clone();
        EXPECT_TRUE(first.equal(c)) << kernels->name;
      }
    }
  }
}

TEST(Gemm, SameBitsForAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  at::manual_seed(2);
  for (const Size& s : {Size{700, 40, 300}, Size{400, 33, 2000}}) {
    const at::Tensor a = at::randn({s.m, s.k});
    const at::Tensor b = at::randn({s.k, s.n});
    at::Tensor results[2];
    for (const int i : {0, 1}) {
      at::set_num_threads(i == 0 ? 1 : 3);
      results[i] = at::empty({s.m, s.n});
      gemm({.m = s.m,
            .n = s.n,
            .k = s.k,
            .a = {a.data_ptr<float>(), s.k, 1},
            .b = {b.data_ptr<float>(), s.n, 1},
            .c = results[i].data_ptr<float>(),
            .c_stride = s.n});
    }
    EXPECT_TRUE(results[0].equal(results[1]));
  }
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace deepsearch::network
