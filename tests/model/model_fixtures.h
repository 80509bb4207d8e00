// Small models and folders shared by the tests of src/model.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
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

// fresh_weights are nearly linear near zero; these are large enough that softmax, norms and SiLU all matter.
inline ModelWeights lively_weights(const ModelConfig& config, uint64_t seed) {
  ModelWeights weights = fresh_weights(config, seed);
  RandomStream random(seed, RngPurpose::kTests, 1);
  for (HostTensor& tensor : weights.tensors) {
    for (float& value : tensor.values) {
      value = tensor.shape.size() == 1 ? static_cast<float>(1.0 + 0.3 * random.normal()) : 15.0F * value;
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
