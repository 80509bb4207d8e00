// A model's weights on the host, by Hugging Face tensor name: what is saved, sent to search ranks and packed by the CPU
// engine. No LibTorch. fp32, row-major, Linear weights are [out, in].
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/model_config.h"

namespace deepsearch {

struct HostTensor {
  std::string name;  // "model.layers.0.self_attn.q_proj.weight", …
  std::vector<int64_t> shape;
  std::vector<float> values;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(name, shape, values);
  }
};

struct ModelWeights {
  ModelConfig config;
  std::vector<HostTensor> tensors;  // in expected_tensors() order

  const HostTensor& at(const std::string& name) const;  // failure() when absent
};

struct TensorShape {
  std::string name;
  std::vector<int64_t> shape;
};
// Every tensor a model of this shape has, in the one order used for saving, sending and optimiser state.
std::vector<TensorShape> expected_tensors(const ModelConfig& config);

// Random start: normal(0, 0.02) matrices (output projections scaled by 1/sqrt(2·layers)), ones for norms; a pure
// function of (config, seed).
ModelWeights fresh_weights(const ModelConfig& config, uint64_t seed);

// All values in expected_tensors() order, as one vector, and back; sizes are checked.
std::vector<float> flatten(const ModelWeights& weights);
void unflatten(const std::vector<float>& values, ModelWeights& weights);
int64_t parameter_count(const ModelConfig& config);

// A model folder in the Hugging Face layout: config.json, generation_config.json, model.safetensors and, when given,
// tokenizer.json (+ tokenizer_config.json). save writes each file atomically, config.json last.
void save_model(const std::filesystem::path& folder, const ModelWeights& weights, const std::string& tokenizer_json);
// bad_input for a missing file, a wrong shape, size or dtype, a tensor too many or too few (each named).
ModelWeights load_model(const std::filesystem::path& folder);

}  // namespace deepsearch
