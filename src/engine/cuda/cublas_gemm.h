// Matrix products by cuBLASLt, for many rows. What it chose for a shape is kept; rows are rounded up to buckets so that
// there are few shapes. Without split-K or any reduction between thread blocks other than by the library's own choice:
// results may differ in the last bits between buckets, so CudaOptions::deterministic does not use it.
#pragma once

#include <compare>
#include <cstdint>
#include <cublasLt.h>
#include <driver_types.h>
#include <map>

#include "engine/cuda/device.h"

namespace deepsearch::cuda {

class CublasGemm {
 public:
  CublasGemm(DType type, cudaStream_t stream, void* workspace, int64_t workspace_bytes);
  ~CublasGemm();
  CublasGemm(const CublasGemm&) = delete;
  CublasGemm& operator=(const CublasGemm&) = delete;
  CublasGemm(CublasGemm&&) = delete;
  CublasGemm& operator=(CublasGemm&&) = delete;

  // Rows of x and out have room up to the next multiple of kRowStep. failure() with the library's status.
  void run(const GemmArgs& args);

 private:
  struct Key {
    int64_t rows, n, k, stride;
    bool float_out, accumulate;
    auto operator<=>(const Key&) const = default;
  };
  struct Plan {
    cublasLtMatmulDesc_t product = nullptr;
    cublasLtMatrixLayout_t weights = nullptr;
    cublasLtMatrixLayout_t x = nullptr;
    cublasLtMatrixLayout_t out = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
  };
  const Plan& plan_for(const Key& key);

  DType type_;
  cudaStream_t stream_;
  void* workspace_;
  int64_t workspace_bytes_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<Key, Plan> plans_;
};

}  // namespace deepsearch::cuda
