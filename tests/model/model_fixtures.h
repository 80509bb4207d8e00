// Small models and folders shared by the tests of src/model.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
#include "model/safetensors.h"
#include "model/weights.h"

namespace deepsearch {

inline ModelConfig small_model_config() {
  ModelConfig config;
  config.vocab_size = 23;
  config.hidden_size = 16;
  config.n_layers = 2;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.head_dim = 4;
  config.intermediate_size = 24;
  config.max_positions = 40;
  config.rope_theta = 500.0;
  config.bos_token = 1;
  config.eos_tokens = {2, 5};
  return config;
}

// One small shape of each kind of network: {name, shape}.
inline std::vector<std::pair<std::string, ModelConfig>> family_shapes() {
  const ModelConfig llama = small_model_config();
  ModelConfig biased = llama;
  set_family(biased, ModelFamily::kLlama, /*attention_bias=*/true);
  biased.tie_embeddings = true;
  ModelConfig qwen2 = llama;
  set_family(qwen2, ModelFamily::kQwen2);
  qwen2.n_kv_heads = 1;
  ModelConfig qwen3 = llama;
  set_family(qwen3, ModelFamily::kQwen3);
  qwen3.head_dim = 6;  // not hidden_size / n_heads
  qwen3.tie_embeddings = true;
  ModelConfig qwen3_biased = llama;
  set_family(qwen3_biased, ModelFamily::kQwen3, /*attention_bias=*/true);
  return {
      {"llama", llama}, {"llama_biased", biased}, {"qwen2", qwen2}, {"qwen3", qwen3}, {"qwen3_biased", qwen3_biased}};
}

// Each kind of scaling, for small_model_config()'s 40 positions: {name, scaling}.
inline std::vector<std::pair<std::string, RopeScaling>> rope_scalings() {
  using Kind = RopeScaling::Kind;
  return {{"linear", {.kind = Kind::kLinear, .factor = 4.0}},
          {"llama3",
           {.kind = Kind::kLlama3,
            .factor = 8.0,
            .original_max_positions = 16,
            .low_freq_factor = 1.0,
            .high_freq_factor = 4.0}},
          {"yarn", {.kind = Kind::kYarn, .factor = 4.0, .original_max_positions = 10}},
          {"yarn_given",
           {.kind = Kind::kYarn,
            .factor = 2.5,
            .original_max_positions = 16,
            .beta_fast = 4.0,
            .beta_slow = 0.5,
            .attention_factor = 1.25,
            .truncate = false}}};
}

inline void write_safetensors(const std::filesystem::path& path, const std::vector<HostTensor>& tensors,
                              DType type = DType::kF32) {
  std::vector<TensorShape> shapes;
  for (const HostTensor& tensor : tensors) shapes.push_back({tensor.name, tensor.shape});
  const ModelWeights source({}, tensors);
  SafetensorsWriter writer(path, shapes, type);
  for (size_t i = 0; i < tensors.size(); ++i) writer.append(source.view(i));
  writer.publish();
}

// fresh_weights are nearly linear near zero; these are large enough that softmax, norms and SiLU all matter.
inline ModelWeights lively_weights(const ModelConfig& config, uint64_t seed) {
  ModelWeights weights = fresh_weights(config, seed);
  RandomStream random(seed, RngPurpose::kTests, 1);
  for (HostTensor& tensor : weights.tensors) {
    for (float& value : tensor.values) {
      value = tensor.name.ends_with("norm.weight") ? static_cast<float>(1.0 + 0.3 * random.normal()) : 15.0F * value;
    }
  }
  return weights;
}

// A folder of its own, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "deepsearch-model-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw Error("no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string slurp(const std::filesystem::path& path) {
  return read_file(path, uint64_t{1} << 30);
}

inline void spill(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// The message of the bad_input that `action` must end in; anything else fails the test.
template <class Action>
std::string bad_input_text(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

}  // namespace deepsearch
