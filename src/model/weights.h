// A model's weights on the host, by Hugging Face tensor name: what is saved, sent to search ranks and packed by the CPU
// engine. No LibTorch. fp32, row-major, Linear weights are [out, in].
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/dtype.h"
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

// A tensor's values as they lie in memory or in a mapped file; owns nothing.
struct TensorView {
  const std::string* name = nullptr;
  DType type = DType::kF32;
  std::span<const int64_t> shape;
  const std::byte* data = nullptr;  // row-major, little-endian; aligned to the type's width
  int64_t count = 0;                // values

  // Values [first, first + out.size()) as fp32; F16 and BF16 are widened exactly. failure() beyond the end.
  void read(int64_t first, std::span<float> out) const;
};

// Where weights come from, tensor by tensor, so that a large model need not lie in memory twice: a ModelWeights, or a
// folder's memory-mapped files (open_model). Tensors are numbered in expected_tensors() order. Const methods may be
// called from one thread at a time; what a view points at may be read by any.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const ModelConfig& model_config() const = 0;
  virtual size_t tensor_count() const = 0;
  // Valid until release(index), or as long as the source.
  virtual TensorView view(size_t index) const = 0;
  // The caller is done with this tensor for now: its pages may be given back. A later view(index) reads them again.
  virtual void release(size_t index) const = 0;
};

struct ModelWeights final : WeightSource {
  ModelWeights() = default;
  ModelWeights(ModelConfig shape, std::vector<HostTensor> values)
      : config(std::move(shape)), tensors(std::move(values)) {}

  ModelConfig config;
  std::vector<HostTensor> tensors;  // in expected_tensors() order

  const HostTensor& at(const std::string& name) const;  // failure() when absent

  const ModelConfig& model_config() const override { return config; }
  size_t tensor_count() const override { return tensors.size(); }
  TensorView view(size_t index) const override;
  void release(size_t /*index*/) const override {}
};

struct TensorShape {
  std::string name;
  std::vector<int64_t> shape;
};
// Every tensor a model of this shape has, in the one order used for saving, sending and optimiser state.
std::vector<TensorShape> expected_tensors(const ModelConfig& config);

// Random start: normal(0, 0.02) matrices and biases (output projections' matrices scaled by 1/sqrt(2·layers)), ones for
// norms; a pure function of (config, seed). bad_input when it does not fit into memory.
ModelWeights fresh_weights(const ModelConfig& config, uint64_t seed);

// All values in expected_tensors() order, as one vector; sizes are checked.
std::vector<float> flatten(const ModelWeights& weights);
int64_t parameter_count(const ModelConfig& config);
int64_t weight_bytes(const ModelConfig& config, DType type);

// A model folder in the Hugging Face layout: config.json, generation_config.json, the weights (model.safetensors, or
// model-00001-of-0000N.safetensors … with model.safetensors.index.json) and, when given, tokenizer.json
// (+ tokenizer_config.json). docs/models.md says which models these are.
struct SaveOptions {
  DType type = DType::kF32;              // kF32 or kBF16 (rounded to the nearest)
  uint64_t shard_bytes = 5'000'000'000;  // a file's values; one tensor may be more. One file when all fit
};
// Writes each file atomically, config.json last, and then removes weight files an earlier save left there under other
// names. Tensor by tensor: no second copy of the weights is made. failure() when the tensors are not the model's.
void save_model(const std::filesystem::path& folder, const WeightSource& weights, const std::string& tokenizer_json,
                const SaveOptions& options = {});

// The folder's weights, memory-mapped; nothing but the headers is read. Tensors may be F32, F16 and BF16, mixed. A tied
// model may hold its matrix under either name, or the same values under both. End-of-sequence tokens of
// generation_config.json win over config.json's, as in transformers' generate(). bad_input for a missing file, a wrong
// shape, size or dtype, a tensor too many or too few (each named).
std::unique_ptr<WeightSource> open_model(const std::filesystem::path& folder);
// The same with all values in memory, as fp32; bad_input before any is read when they do not fit. The files' pages are
// given back as they are read, so that this never takes more than the fp32 values and a little.
ModelWeights load_model(const std::filesystem::path& folder);

}  // namespace deepsearch
