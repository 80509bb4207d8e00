#include "engine/cuda/cublas_gemm.h"

#include "core/error.h"

namespace deepsearch::cuda {
namespace {

void check(cublasStatus_t status, const char* operation) {
  if (status != CUBLAS_STATUS_SUCCESS) failure("cuBLASLt: {}: {}", operation, cublasLtGetStatusString(status));
}

cudaDataType_t type_of(DType type) {
  if (type == DType::kF32) return CUDA_R_32F;
  return type == DType::kF16 ? CUDA_R_16F : CUDA_R_16BF;
}

cublasLtMatrixLayout_t layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t stride) {
  cublasLtMatrixLayout_t made = nullptr;
  check(cublasLtMatrixLayoutCreate(&made, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), stride),
        "describing a matrix");
  return made;
}

}  // namespace

CublasGemm::CublasGemm(DType type, cudaStream_t stream, void* workspace, int64_t workspace_bytes)
    : type_(type), stream_(stream), workspace_(workspace), workspace_bytes_(workspace_bytes) {
  check(cublasLtCreate(&handle_), "starting");
}

CublasGemm::~CublasGemm() {
  for (auto& [key, plan] : plans_) {
    cublasLtMatmulDescDestroy(plan.product);
    cublasLtMatrixLayoutDestroy(plan.weights);
    cublasLtMatrixLayoutDestroy(plan.x);
    cublasLtMatrixLayoutDestroy(plan.out);
  }
  cublasLtDestroy(handle_);
}

// The library thinks in columns: outᵀ [n, rows] = weights [n, k] · xᵀ [k, rows].
const CublasGemm::Plan& CublasGemm::plan_for(const Key& key) {
  const auto found = plans_.find(key);
  if (found != plans_.end()) return found->second;
  Plan plan;
  const cudaDataType_t type = type_of(type_);
  check(cublasLtMatmulDescCreate(&plan.product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
  const cublasOperation_t transposed = CUBLAS_OP_T;
  check(cublasLtMatmulDescSetAttribute(plan.product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
        "describing a product");
  plan.weights = layout(type, key.k, key.n, key.k);
  plan.x = layout(type, key.k, key.rows, key.k);
  plan.out = layout(key.float_out ? CUDA_R_32F : type, key.n, key.rows, key.stride);
  cublasLtMatmulPreference_t preference = nullptr;
  check(cublasLtMatmulPreferenceCreate(&preference), "choosing an algorithm");
  const auto bytes = static_cast<uint64_t>(workspace_bytes_);
  check(
      cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes),
      "choosing an algorithm");
  cublasLtMatmulHeuristicResult_t choice{};
  int n_choices = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle_, plan.product, plan.weights, plan.x, plan.out,
                                                               plan.out, preference, 1, &choice, &n_choices);
  cublasLtMatmulPreferenceDestroy(preference);
  check(status, "choosing an algorithm");
  if (n_choices == 0) failure("cuBLASLt: no algorithm for {}×{}×{}", key.rows, key.n, key.k);
  plan.algorithm = choice.algo;
  return plans_.emplace(key, plan).first->second;
}

void CublasGemm::run(const GemmArgs& args) {
  const int64_t step = args.rows <= 64 ? 8 : kRowStep;
  const Plan& plan = plan_for({.rows = (args.rows + step - 1) / step * step,
                               .n = args.n,
                               .k = args.k,
                               .stride = args.stride,
                               .float_out = args.float_out,
                               .accumulate = args.accumulate});
  const float one = 1;
  const float beta = args.accumulate ? 1 : 0;
  check(
      cublasLtMatmul(handle_, plan.product, &one, args.weights, plan.weights, args.x, plan.x, &beta, args.out, plan.out,
                     args.out, plan.out, &plan.algorithm, workspace_, static_cast<size_t>(workspace_bytes_), stream_),
      "multiplying");
}

}  // namespace deepsearch::cuda
