#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "engine/batch_engine.h"
#include "engine/cuda/cuda_backend.h"
#include "engine/native/native_backend.h"

namespace deepsearch {
namespace {

bool use_cuda(const EngineParams& params) {
  if (params.device == "cpu") return false;
  const bool available = cuda_available();
  if (params.device == "cuda" && !available) {
    bad_input(
        "[engine].device is \"cuda\", but this process sees no GPU (or this program was built without CUDA); use "
        "\"auto\" or \"cpu\"");
  }
  return available;
}

std::unique_ptr<Backend> make_cpu_backend(const EngineParams& params, const ModelConfig& config) {
  if (params.weights == "fp16") {
    bad_input("[engine].weights is \"fp16\", which runs on a GPU only; on a CPU take \"fp32\", \"bf16\" or \"int8\"");
  }
  const std::string storage = params.weights == "auto" ? "fp32" : params.weights;
  return make_native_backend(config, params.threads, weight_storage_of(storage));
}

std::unique_ptr<Backend> make_gpu_backend(const EngineParams& params, const ModelConfig& config) {
  CudaOptions options;
  options.deterministic = params.deterministic;
  options.max_rows = params.max_batch + params.prefill_chunk;
  if (params.weights == "int8") {
    bad_input("[engine].weights is \"int8\", which runs on a CPU only; on a GPU take \"bf16\", \"fp16\" or \"fp32\"");
  }
  options.dtype = params.weights == "fp32" ? DType::kF32 : params.weights == "fp16" ? DType::kF16 : DType::kBF16;
  return make_cuda_backend(config, options);
}

// Blocks of the KV cache: what [engine].kv_memory_mb says, or a share of what is free.
int64_t block_count(const EngineParams& params, const Backend& backend, bool cuda, int64_t ranks_on_host) {
  constexpr double kShareOfGpu = 0.95;
  constexpr double kShareOfHost = 0.5;
  const double share = cuda ? kShareOfGpu : kShareOfHost / static_cast<double>(std::max<int64_t>(1, ranks_on_host));
  const int64_t bytes = params.kv_memory_mb > 0
                            ? params.kv_memory_mb * 1'000'000
                            : static_cast<int64_t>(share * static_cast<double>(backend.memory_for_blocks()));
  const int64_t blocks = std::min<int64_t>(bytes / backend.block_bytes(), INT32_MAX - 1);
  if (blocks < 1) {
    bad_input("[engine]: {} MB for the KV cache hold not even one block of {} tokens ({} bytes); {}", bytes / 1'000'000,
              kKvBlockTokens, backend.block_bytes(),
              params.kv_memory_mb > 0 ? "raise kv_memory_mb" : "free some memory, or use fewer ranks on this host");
  }
  return blocks;
}

}  // namespace

int64_t decode_batch(const EngineParams& params, const ModelConfig& config, bool on_gpu) {
  if (params.max_batch > 0) return params.max_batch;
  // A large batch shares the way of the weights from memory. Weights in a core's caches need no such sharing, and then
  // what a small batch's KV saves by lying there too is worth up to a factor of 2 (docs/performance.md).
  constexpr int64_t kManyParameters = int64_t{2} << 20;  // 8 MiB of fp32
  if (on_gpu || parameter_count(config) > kManyParameters) return 256;
  return 16 * params.threads;
}

std::unique_ptr<Engine> make_engine(const EngineParams& wanted, const ModelConfig& config, uint64_t seed, int rank,
                                    int64_t ranks_on_host) {
  check_model_config(config);
  const bool cuda = use_cuda(wanted);
  EngineParams params = wanted;
  params.max_batch = decode_batch(wanted, config, cuda);
  std::unique_ptr<Backend> backend = cuda ? make_gpu_backend(params, config) : make_cpu_backend(params, config);
  const int64_t blocks = block_count(params, *backend, cuda, ranks_on_host);
  return std::make_unique<BatchEngine>(params, config, seed, rank, blocks, std::move(backend));
}

}  // namespace deepsearch
