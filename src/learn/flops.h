// Floating-point operations of training, as model FLOP utilisation counts them (PaLM, appendix B): a multiply-add is
// two, backward costs twice forward, recomputed activations do not count. No LibTorch.
#pragma once

#include <cstdint>
#include <string>

#include "learn/params.h"
#include "model/model_config.h"

namespace deepsearch {

// Of forward and backward over `tokens` tokens, with logits at `outputs` of them and `pairs` query-key pairs attended.
double train_flops(const ModelConfig& config, double tokens, double outputs, double pairs);

// Of one token's products in the layers, forward only; the head apart.
double layer_flops_per_token(const ModelConfig& config);
// Of one query-key pair over all layers, forward only.
double flops_per_pair(const ModelConfig& config);

// What a GPU of that name does at most without sparsity, in operations a second, by its data sheet; 0: not known.
double gpu_peak_flops(const std::string& name, Compute compute);
// What this process's learner can do at most: its GPU (comm/gpu.h), or `threads` CPU threads, measured in 50 ms.
double device_peak_flops(bool on_gpu, Compute compute, int64_t threads);

}  // namespace deepsearch
