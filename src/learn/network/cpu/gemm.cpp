#include "learn/network/cpu/gemm.h"

#include <algorithm>
#include <numeric>

#include <ATen/Parallel.h>

#include "learn/network/cpu/scratch.h"

namespace deepsearch::network {

namespace {

constexpr int64_t kDeepest = 256;   // k of a block: a panel of b stays in the first-level cache
constexpr int64_t kRowBlock = 192;  // rows of a block of a: a multiple of every tile's rows

int64_t chunks(int64_t n, int64_t size) {
  return (n + size - 1) / size;
}

// Rows can be read where they lie if those of a tile do not fall onto few lines of the first-level cache, whose places
// repeat every 4 KiB.
bool lies_well(const ConstMatrix& a) {
  constexpr int64_t kPeriod = 4096 / sizeof(float);
  return a.column == 1 && kPeriod / std::gcd(kPeriod, a.row) >= 8;
}

}  // namespace

void gemm(const Gemm& p, const Kernels& kernels) {
  static thread_local Scratch packed_columns;
  const int64_t blocks = std::max<int64_t>(1, chunks(p.k, kDeepest));
  const int64_t depth = chunks(p.k, blocks);
  const int64_t padded = round_up(p.n, kernels.tile_columns);
  // A long sum of a small result (weights' gradients): block after block of k, so that c stays in the cache. Else all
  // of b is packed at once, and each block of rows is finished before the next.
  const int64_t together = p.k > 2 * p.m ? 1 : blocks;
  const bool in_place = lies_well(p.a);
  float* b = packed_columns.get(together * depth * padded);
  for (int64_t first = 0; first < blocks; first += together) {
    const int64_t last = std::min(blocks, first + together);
    const auto begin_of = [&](int64_t block) { return std::min(p.k, block * depth); };
    at::parallel_for(first, last, 1, [&](int64_t from, int64_t to) {
      for (int64_t block = from; block < to; ++block) {
        const int64_t k = begin_of(block);
        kernels.pack_columns(p.b.data + k * p.b.row, p.b.row, p.b.column, begin_of(block + 1) - k, p.n,
                             b + (block - first) * depth * padded);
      }
    });
    at::parallel_for(0, chunks(p.m, kRowBlock), 1, [&](int64_t from, int64_t to) {
      static thread_local Scratch packed_rows;
      float* a = packed_rows.get(kRowBlock * kDeepest);
      for (int64_t i = from; i < to; ++i) {
        const int64_t row = i * kRowBlock;
        const int64_t rows = std::min(kRowBlock, p.m - row);
        for (int64_t block = first; block < last; ++block) {
          const int64_t k = begin_of(block);
          const int64_t n = begin_of(block + 1) - k;
          const float* source = p.a.data + row * p.a.row + k * p.a.column;
          if (!in_place) kernels.pack_rows(source, p.a.row, p.a.column, rows, n, a);
          float* c = p.c + row * p.c_stride;
          PanelBlock one{.a = in_place ? source : a,
                         .a_step = in_place ? p.a.row : 0,
                         .b = b + (block - first) * depth * padded,
                         .rows = rows,
                         .columns = p.n,
                         .n = n,
                         .c = c};
          one.c_stride = p.c_stride;
          one.plus = block > 0 ? c : p.plus == nullptr ? nullptr : p.plus + row * p.plus_stride;
          one.plus_stride = block > 0 ? p.c_stride : p.plus_stride;
          kernels.multiply_panels(one);
        }
      }
    });
  }
}

}  // namespace deepsearch::network
