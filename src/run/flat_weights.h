// FlatWeights: a model's values one after the other in one buffer, fp32 or bf16: what goes to the search ranks and what
// their engines read from.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "comm/messages.h"
#include "engine/params.h"
#include "model/weights.h"

namespace deepsearch {

class FlatWeights final : public WeightSource {
 public:
  // Values are not set. bad_input when they do not fit into memory.
  FlatWeights(const ModelConfig& config, DType type);

  // Takes over the values, rounded to the nearest where the type is the narrower.
  void fill(const ModelWeights& weights);

  int64_t bytes() const { return bytes_; }
  DType type() const { return type_; }
  // Each tensor's values: what travels is cut at the tensors' ends on all ranks, wherever the values lie.
  std::vector<std::span<std::byte>> parts();

  const ModelConfig& model_config() const override { return config_; }
  size_t tensor_count() const override { return shapes_.size(); }
  TensorView view(size_t index) const override;
  void release(size_t /*index*/) const override {}

 private:
  ModelConfig config_;
  DType type_;
  std::vector<TensorShape> shapes_;
  std::vector<int64_t> offsets_;  // values before each tensor, and all
  int64_t bytes_;
  std::unique_ptr<std::byte[]> values_;
};

// How the policy travels: as the search ranks' engines keep it when that is bf16, else fp32.
DType type_sent(const EngineParams& params);
WeightsMessage::Precision precision_of(DType type);
DType type_of(WeightsMessage::Precision precision);

}  // namespace deepsearch
