// A Linear [out, in] in the order products read it: panels of 16 output columns, zeros in the columns past `out`, as
// fp32, bf16 or int8 with scales (native/kernels.h, WeightStorage, has the layout).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/native/kernels.h"
#include "model/weights.h"

namespace deepsearch::native {

class PackedMatrix {
 public:
  PackedMatrix() = default;
  // Lies at `memory`, of which it takes bytes(…).
  PackedMatrix(WeightStorage storage, int64_t k, int64_t panels, std::byte* memory);
  static int64_t bytes(WeightStorage storage, int64_t k, int64_t panels);

  int64_t k() const { return k_; }
  int64_t panels() const { return panels_; }

  // Rows [0, rows) of `tensor` become columns first, first + stride, … counted in runs of 16: row r stands in column
  // (r / 16 · panel_step) · 16 + r % 16 from first_column. panel_step 2 leaves room for a partner between panels.
  // `row` is scratch of k() floats.
  void pack(const TensorView& tensor, int64_t rows, int64_t first_column, int64_t panel_step, std::span<float> row);

  // Column `column` as fp32, its k() numbers: an embedding's row where the head is the embedding.
  void column(int64_t column, float* out) const;

  // product.a, a_stride, rows, c, c_stride, output and bias are the caller's; fills in the rest for some panels.
  void select(int64_t first_panel, int64_t panels, Product& product) const;

 private:
  int64_t groups() const { return (k_ + kInt8Group - 1) / kInt8Group; }
  int64_t lines() const;  // of a panel
  // Number i of a column.
  template <class Value>
  Value* at(int64_t column, int64_t i) const;
  void set_column(int64_t column, const float* values);
  void set_column_int8(int64_t column, const float* values);

  WeightStorage storage_ = WeightStorage::kFp32;
  int64_t k_ = 0;
  int64_t panels_ = 0;
  std::byte* values_ = nullptr;
  float* scales_ = nullptr;  // int8: [panels, groups, 16]
};

}  // namespace deepsearch::native
