// CPU kernels of the native backend, with fp32 arithmetic, one table of functions per instruction set, chosen at start.
//
// All of them are row-invariant: a row's result depends on that row's input only, never on how many rows there are,
// where the row stands, which rows share a block of keys or which thread runs it. Each output element of a matrix
// product is one chain of fused multiply-adds over k = 0, 1, 2, …; reductions over positions or channels run in 16
// lanes (index modulo 16) that are added in one fixed order. Every instruction set is written with the same 16 lanes
// and the same fused operations, so the bits do not depend on the CPU's type either.
#pragma once

#include <cstdint>
#include <vector>

namespace deepsearch::native {

constexpr int64_t kLanes = 16;  // floats; matrices are packed in panels of this many output columns

constexpr int64_t round_up(int64_t n, int64_t to) {
  return (n + to - 1) / to * to;
}

// How the numbers of a packed matrix are kept. Each is widened to fp32 exactly before it is multiplied.
//
//   kFp32
//   kBf16   rounded to nearest, ties to even
//   kInt8   symmetric, a scale (fp32) for each output column and kInt8Group consecutive k: the chain over a group runs
//           on the integers (times 2^24, which the scale makes up for), its sum is multiplied by the scale and added to
//           that of the groups before in one fma
//
// A panel is lines of 16 lanes, 4 bytes for each of its columns: one fp32, two consecutive k of bf16 or four of int8,
// the first in the lowest bytes. k is filled up with zeros to whole lines.
enum class WeightStorage : uint8_t { kFp32, kBf16, kInt8 };
constexpr int64_t kInt8Group = 64;

// What becomes of a product's columns.
enum class Output : uint8_t {
  kStore,   // c = product (+ bias)
  kAdd,     // c += product (+ bias)
  kSwiglu,  // panels in pairs (gate, up): c[·, pair] = silu(gate) · up; no bias
};

// Memory that will be wanted after a product: pieces of `lines` cache lines at base + id · stride. A product of many
// rows leaves the way to memory free, and asks for some of them meanwhile, from `next` (a line, over all pieces) on.
struct FetchList {
  const float* base = nullptr;
  int64_t stride = 0;
  const int32_t* ids = nullptr;
  int64_t lines = 0;
  int64_t next = 0;
  int64_t end = 0;
};

// c[rows, ·] from a[rows, k] · w, for some neighbouring panels of a packed matrix. All pointers are to the first panel.
struct Product {
  const float* a = nullptr;
  int64_t a_stride = 0;
  int64_t rows = 0;
  int64_t k = 0;
  const float* w = nullptr;       // [panels, lines, 16]
  const float* scales = nullptr;  // int8: [panels, groups of k, 16]
  int64_t panels = 0;
  const float* bias = nullptr;  // [panels, 16], or none
  float* c = nullptr;
  int64_t c_stride = 0;
  Output output = Output::kStore;
  FetchList* later = nullptr;  // or none
};

// One layer's keys or values of one kv head: block `id` lies at base + id · block_stride.
struct BlockView {
  const float* base = nullptr;
  int64_t block_stride = 0;
  const int32_t* table = nullptr;
  int64_t blocks = 0;  // of the table, for views that are asked of memory ahead of use
};

// How heads of one token are turned: RMSNorm (when norm is given), rotation of pairs (i, i + head_dim/2), scale.
struct HeadTurn {
  int64_t head_dim = 0;
  const float* norm = nullptr;  // [head_dim], or none
  float eps = 0;
  const float* cosines = nullptr;  // [head_dim/2]
  const float* sines = nullptr;
  float scale = 1;
};

struct Kernels {
  const char* name;

  // Indexed by WeightStorage.
  void (*product[3])(const Product& product);

  // out = x / sqrt(mean(x²) + eps) · weight for each row of n values. Rows are padded with zeros to kLanes.
  void (*rms_norm)(const float* x, int64_t stride, int64_t rows, int64_t n, const float* weight, float eps, float* out,
                   int64_t out_stride);

  // Neighbouring heads of one token, [heads, head_dim] → the same; `out` may be `in`.
  void (*turn_heads)(const HeadTurn& turn, const float* in, int64_t heads, float* out);

  // out[row, block · 16 + slot] = q[row] · key, for all slots of `blocks` blocks laid out [head_dim, 16]. `ahead`:
  // blocks that are wanted next, asked of memory on the way (0 for none).
  void (*scores)(const float* q, int64_t rows, int64_t head_dim, const BlockView& keys, int64_t blocks, float* out,
                 int64_t out_stride, const BlockView& ahead);
  // Numerators exp(s − max) of the first n scores in place, zeros up to `padded` (a multiple of kLanes, ≥ n); returns
  // their sum.
  float (*softmax)(float* scores, int64_t n, int64_t padded);
  // acc[row] += Σ weights[row, position] · value[position] over positions 0 … positions − 1, one after the other;
  // blocks laid out [16, width], width (and acc's rows) a multiple of kLanes.
  void (*mix)(const float* weights, int64_t weights_stride, int64_t rows, const BlockView& values, int64_t positions,
              int64_t width, float* acc, const BlockView& ahead);
  // out[i] = x[i] / divisor for i < n.
  void (*divide)(const float* x, int64_t n, float divisor, float* out);

  // Largest of n ≥ 1 numbers.
  float (*largest)(const float* x, int64_t n);
  // Index of the first number that equals `value`; n when none does.
  int64_t (*find)(const float* x, int64_t n, float value);
  // Indices of numbers ≥ bound, ascending; returns how many. `out` has room for n + kLanes.
  int64_t (*find_at_least)(const float* x, int64_t n, float bound, uint32_t* out);
  // out[i] = exp((x[i] − shift) · scale) for i < n, for arguments ≤ 0 (underflow gives 0).
  void (*exp_shifted)(const float* x, int64_t n, float shift, float scale, float* out);
  // With y = (x − shift) · scale and e = exp_shifted's numbers: the sum of e over each kSumChunk numbers, and,
  // returned, Σ e·y over all of them. In double, 16 lanes.
  double (*exp_sums)(const float* x, int64_t n, float shift, float scale, double* chunk_sums);

  // n fused multiply-adds of 16 lanes (32·n operations) in registers, for measuring a core's peak; returns a value of
  // them.
  float (*fma_loop)(int64_t n);
  // Reads n floats (a multiple of 64, aligned), for measuring a core's memory bandwidth; returns their sum.
  float (*read_loop)(const float* x, int64_t n);
};

constexpr int64_t kSumChunk = 256;

// The best table this CPU can run.
const Kernels& best_kernels();
// All tables this CPU can run, best first; the last is the portable one.
std::vector<const Kernels*> runnable_kernels();

}  // namespace deepsearch::native
