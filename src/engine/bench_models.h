// Models to measure with when there is none at hand: named shapes, and weights that cost no time to make.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/weights.h"

namespace deepsearch {

// "m1" (4 layers, hidden 128, vocabulary 64), "m2" (8, 512, 32,000), "qwen2-0.5b", "qwen2-1.5b", "llama3-8b".
// bad_input, with the list, for another name. Without end-of-sequence tokens.
ModelConfig bench_shape(const std::string& name);

// bf16 weights for speed alone: small, finite and mostly the same memory for all tensors.
class BenchWeights : public WeightSource {
 public:
  explicit BenchWeights(ModelConfig config);
  const ModelConfig& model_config() const override { return config_; }
  size_t tensor_count() const override { return shapes_.size(); }
  TensorView view(size_t index) const override;
  void release(size_t /*index*/) const override {}

 private:
  ModelConfig config_;
  std::vector<TensorShape> shapes_;
  std::vector<uint16_t> values_;  // as many as the largest tensor has
};

}  // namespace deepsearch
