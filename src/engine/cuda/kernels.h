// What the kernels of this folder are asked to do: plain structs of pointers and sizes, and one function a kernel.
// All pointers are device memory; `void*` points to values of the kernels' type (fp32, fp16 or bf16, chosen when a
// Kernels is made). Nothing here waits: a call puts work on the device's one stream.
//
// Widths. Matrix widths are padded with zeros to multiples of kWidthStep, heads to one of kHeadSizes, so that kernels
// have no ragged edges: `padded` means that.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/pass.h"
#include "model/dtype.h"

namespace deepsearch::cuda {

constexpr int64_t kWidthStep = 32;   // padded widths of matrices and activations
constexpr int64_t kOutputStep = 16;  // padded rows of weight matrices
constexpr int64_t kRowStep = 64;     // activations have room for a multiple of this many rows
constexpr std::array<int, 3> kHeadSizes = {64, 96, 128};

// x = table[token], widened; x is fp32 and stays so through the layers (the residual stream).
struct EmbedArgs {
  const int32_t* tokens = nullptr;
  const void* table = nullptr;  // [vocab, padded]
  float* x = nullptr;           // [rows, padded]
  int rows = 0;
  int padded = 0;
};

// out[i] = x[row_of ? row_of[i] : i] · gain / rms, rounded to the kernels' type; zeros in the padding. With `add`, x +=
// add first.
struct NormArgs {
  float* x = nullptr;
  const float* add = nullptr;       // [width] or null; not with row_of
  const float* gain = nullptr;      // [width]
  const int32_t* row_of = nullptr;  // or null
  void* out = nullptr;              // [rows, padded]
  int rows = 0;
  int width = 0;
  int padded = 0;
  float eps = 0;
};

// What becomes of x · weightsᵀ. kSwiGlu: weight rows come in groups of 16, 8 of gate and the 8 of up that belong to
// them, and out has half the columns.
enum class Epilogue : uint8_t { kStore, kStoreFloat, kAddFloat, kSwiGlu };

// out = x · weightsᵀ. A row's result depends on nothing but that row: the order of each sum is fixed by k alone. Made
// for few rows (the weights are read once for every 32).
struct RowsGemmArgs {
  const void* x = nullptr;        // [rows rounded up to kRowStep, k]
  const void* weights = nullptr;  // [n, k]
  void* out = nullptr;            // [rows, stride]
  int rows = 0;
  int n = 0;       // a multiple of kOutputStep
  int k = 0;       // a multiple of kWidthStep
  int stride = 0;  // of out, in values
  Epilogue epilogue = Epilogue::kStore;
};

// gate_up as a plain GEMM leaves it (columns grouped as for kSwiGlu) → silu(gate) · up.
struct SwiGluArgs {
  const void* gate_up = nullptr;  // [rows, 2·padded]
  void* out = nullptr;            // [rows, padded]
  int rows = 0;
  int padded = 0;
};

// The KV blocks of one layer. Keys: [block][kv head][slot][dim]; values: [block][kv head][dim][slot], so that both
// products of attention find consecutive in memory what they sum over.
struct KvView {
  void* keys = nullptr;
  void* values = nullptr;
};

// In place on the joined projection: bias, norm of each q and k head, rotation; k and v go into their KV slots.
struct QkvArgs {
  void* qkv = nullptr;            // [rows, (heads + 2·kv_heads)·padded_head]
  const float* bias = nullptr;    // one row of that, or null
  const float* q_gain = nullptr;  // [head_dim] or null
  const float* k_gain = nullptr;
  const int32_t* positions = nullptr;
  const int32_t* slots = nullptr;  // of each row: block · 16 + slot
  const float* cosines = nullptr;  // [positions, head_dim/2]
  const float* sines = nullptr;
  KvView kv;
  int rows = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int padded_head = 0;
  float eps = 0;
};

constexpr int kTileRows = 64;       // of an item of attention
constexpr int kSplitTileRows = 16;  // of an item with split_kv
constexpr int kChunkBlocks = 4;     // KV blocks the warps of such an item take at a time

// How many heads of q share a tile row's KV head, and how many head groups that makes. More than 16 heads a KV head
// are handled in groups of 16.
struct HeadGroups {
  int group = 0;     // heads of q in a group (the last of a KV head may have fewer)
  int per_kv = 0;    // groups that share a KV head
  int n_groups = 0;  // in all
  int heads_per_kv = 0;
};
constexpr HeadGroups head_groups(int heads, int kv_heads) {
  const int per_head = heads / kv_heads;
  const int group = per_head < kSplitTileRows ? per_head : kSplitTileRows;
  const int per_kv = (per_head + group - 1) / group;
  return {.group = group, .per_kv = per_kv, .n_groups = per_kv * kv_heads, .heads_per_kv = per_head};
}

// A piece of attention for one thread block and one head group: tile rows × a run of KV blocks. Tile row i is head
// i % group of row first_row + i / group. Planned by pass_plan.h.
struct AttentionItem {
  int32_t first_row = 0;
  int32_t n_rows = 0;
  int32_t first_block = 0;
  int32_t last_block = 0;
  int32_t table = 0;     // in the pass buffer, in int32: KV block of index i is buffer[table + i]
  int32_t part = 0;      // which of its rows' parts this is
  int32_t split_kv = 0;  // 1: at most 16 tile rows; the four warps share the KV blocks, not the rows
  int32_t padding = 0;
};
static_assert(sizeof(AttentionItem) == 32);

// Rows with one part are finished by attention(), the others by merge() from their parts:
// part p of row r is slot part_first[r] + p of `partial` ([slot][head][padded_head], not normalised) and
// `partial_stats`
// ([slot][head] of {maximum in units of log 2, sum}).
struct AttentionArgs {
  const void* qkv = nullptr;
  void* out = nullptr;               // [rows, stride]
  const int32_t* buffer = nullptr;   // the pass buffer
  const int32_t* n_items = nullptr;  // on the device, so that a captured launch serves any pass
  const AttentionItem* items = nullptr;
  const int32_t* positions = nullptr;
  const int32_t* part_first = nullptr;
  const int32_t* part_count = nullptr;
  float* partial = nullptr;
  float* partial_stats = nullptr;
  KvView kv;
  HeadGroups groups;
  int grid = 0;  // thread blocks; they share the items × head groups
  int rows = 0;  // merge: how many
  int first_row = 0;
  int heads = 0;
  int kv_heads = 0;
  int padded_head = 0;
  int stride = 0;
  float scale = 0;  // 1/sqrt(head_dim) · log2(e)
};

// BlockCopy, in every layer, keys and values.
struct CopyArgs {
  const BlockCopy* copies = nullptr;
  int n_copies = 0;
  void* pool = nullptr;  // [layer][keys, values][block]…
  int64_t n_blocks = 0;
  int layers = 0;
  int kv_heads = 0;
  int padded_head = 0;
};

struct DeviceDraw {
  double u = 0;
  int32_t logit_row = 0;
  Token forced = -1;
  float temperature = 1;
  float top_p = 1;
  int32_t top_k = 0;
  int32_t padding = 0;
};
static_assert(sizeof(DeviceDraw) == 32);

struct SampleArgs {
  const float* logits = nullptr;  // [logit rows, stride]
  const DeviceDraw* draws = nullptr;
  const int32_t* n_draws = nullptr;  // on the device
  SampledToken* drawn = nullptr;
  int grid = 0;             // draws at most
  int first_logit_row = 0;  // the one that logits begin with; draws of others are left alone
  int logit_rows = 0;
  int vocab = 0;
  int stride = 0;
};
// SampledToken::token of a draw whose logits are not all finite.
constexpr Token kNotFinite = -2;

// Weight rows of any type → the kernels' type (or fp32), with rows and columns moved apart where padding goes between.
// Source row r goes to row first_row + r / run · run_stride + r % run, column c to column c / column_run ·
// column_stride + c % column_run.
struct PlaceArgs {
  const void* from = nullptr;  // [rows, columns]
  DType type = DType::kF32;
  void* to = nullptr;  // [.., to_columns]
  bool to_float = false;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t source_row = 0;  // number of the first row here within its tensor
  int64_t first_row = 0;
  int64_t run = 1;
  int64_t run_stride = 1;
  int64_t column_run = 1;
  int64_t column_stride = 1;
  int64_t to_columns = 0;
};

// One type's kernels. An implementation is bound to one device's stream (device.h).
class Kernels {
 public:
  virtual ~Kernels() = default;
  virtual void embed(const EmbedArgs& args) = 0;
  virtual void norm(const NormArgs& args) = 0;
  virtual void rows_gemm(const RowsGemmArgs& args) = 0;
  virtual void swiglu(const SwiGluArgs& args) = 0;
  virtual void qkv(const QkvArgs& args) = 0;
  virtual void attention(const AttentionArgs& args) = 0;
  virtual void merge(const AttentionArgs& args) = 0;
  virtual void copy_blocks(const CopyArgs& args) = 0;
  virtual void sample(const SampleArgs& args) = 0;
  virtual void place(const PlaceArgs& args) = 0;
};

}  // namespace deepsearch::cuda
