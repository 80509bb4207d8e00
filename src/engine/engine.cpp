#include "engine/engine.h"

#include <utility>

#include "core/error.h"
#include "engine/batch_engine.h"
#include "engine/native/native_backend.h"
#include "engine/torch/torch_backend.h"

namespace deepsearch {
namespace {

bool use_cuda(const EngineParams& params) {
  if (params.device == "cpu") return false;
  const bool available = torch_cuda_available();
  if (params.device == "cuda" && !available) {
    bad_input(
        "[engine].device is \"cuda\", but this process sees no GPU (or LibTorch was linked without CUDA); "
        "use \"auto\" or \"cpu\"");
  }
  if (params.backend == "native") {
    if (params.device == "cuda") {
      bad_input(
          "[engine].backend \"native\" runs on the CPU only, but [engine].device is \"cuda\"; use backend \"torch\"");
    }
    return false;
  }
  return available;
}

}  // namespace

std::unique_ptr<Engine> make_engine(const EngineParams& params, const ModelConfig& config, uint64_t seed, int rank) {
  check_model_config(config);
  const bool cuda = use_cuda(params);
  const bool native = params.backend == "native" || (params.backend == "auto" && !cuda);
  std::unique_ptr<Backend> backend = native ? make_native_backend(config, params.threads)
                                            : make_torch_backend(config, cuda ? "cuda" : "cpu", params.threads);
  return std::make_unique<BatchEngine>(params, config, seed, rank, std::move(backend));
}

}  // namespace deepsearch
