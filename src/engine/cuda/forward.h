// Forward: the launches of one pass, given the pass buffer on the device. It owns the activations and the rotary table.
// Everything it launches depends on (layout, rows, addresses) only, so what it does for a bucket can be captured.
#pragma once

#include <cstdint>

#include "engine/cuda/cuda_backend.h"
#include "engine/cuda/device.h"
#include "engine/cuda/device_weights.h"
#include "engine/cuda/pass_plan.h"

namespace deepsearch::cuda {

// The KV pool: [layer][keys, values][block].
struct KvPool {
  DeviceArray memory;
  int64_t n_blocks = 0;  // the scratch block, the last, counted
};

class Forward {
 public:
  Forward(Device& device, const ModelConfig& config, const CudaOptions& options);

  // Room for so many rows; true when buffers moved, so that what was captured is void.
  bool make_room(int64_t rows);

  // Copies of KV blocks; then the decoder over the plan's rows and the sampler over its draws.
  void copy_blocks(const PassPlan& plan, const std::byte* buffer, const KvPool& pool);
  void run(const PassPlan& plan, const std::byte* buffer, const KvPool& pool, const DeviceWeights& weights,
           SampledToken* drawn);

  // Logits of one logit row of the plan that ran last, on the device; computed again, as then, where there were more
  // rows than are kept. `kept`: the row that the kept ones begin with; see first_kept().
  const float* logits_of(int logit_row, int n_logit_rows, int& kept, const DeviceWeights& weights);
  static int first_kept(int n_logit_rows);

  PlanShape plan_shape() const;

 private:
  void run_layer(const PassPlan& plan, const std::byte* buffer, const KvPool& pool, const LayerWeights& weights,
                 int64_t layer);
  void attend(const PassPlan& plan, const std::byte* buffer, const KvView& kv);
  void compute_logits(int first, int rows, const DeviceWeights& weights);
  void multiply(const void* x, const void* weights, void* out, int64_t rows, int64_t n, int64_t k, int64_t stride,
                Epilogue epilogue);
  bool own_gemm(int64_t rows) const;
  KvView layer_blocks(const KvPool& pool, int64_t layer) const;

  Device& device_;
  ModelConfig config_;
  CudaOptions options_;
  PaddedShape shape_;
  int64_t capacity_ = 0;       // rows
  DeviceArray x_;              // fp32 [rows, hidden]: the residual stream
  DeviceArray normed_;         // [rows, hidden]
  DeviceArray qkv_;            // [rows, qkv]
  DeviceArray attended_;       // [rows, attention]
  DeviceArray gate_up_;        // [rows, 2·intermediate]
  DeviceArray activated_;      // [rows, intermediate]
  DeviceArray logits_;         // fp32 [kLogitRows, vocab]
  DeviceArray partial_;        // fp32 [slots, heads, head]
  DeviceArray partial_stats_;  // fp32 [slots, heads, 2]
  DeviceArray cosines_;
  DeviceArray sines_;
};

}  // namespace deepsearch::cuda
