#include "model/weights.h"

#include <cmath>

#include "core/error.h"
#include "core/memory.h"
#include "core/rng.h"

namespace deepsearch {

namespace {

int64_t element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

}  // namespace

void TensorView::read(int64_t first, std::span<float> out) const {
  if (first < 0 || static_cast<int64_t>(out.size()) > count - first) {
    failure("tensor \"{}\": {} values from {} of {}", *name, out.size(), first, count);
  }
  widen(type, data + first * bytes_of(type), out);
}

TensorView ModelWeights::view(size_t index) const {
  const HostTensor& tensor = tensors.at(index);
  return {.name = &tensor.name,
          .type = DType::kF32,
          .shape = tensor.shape,
          .data = reinterpret_cast<const std::byte*>(tensor.values.data()),
          .count = static_cast<int64_t>(tensor.values.size())};
}

const HostTensor& ModelWeights::at(const std::string& name) const {
  for (const HostTensor& tensor : tensors) {
    if (tensor.name == name) return tensor;
  }
  failure("model weights hold no tensor \"{}\"", name);
}

std::vector<TensorShape> expected_tensors(const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  const int64_t q_size = config.n_heads * config.head_dim;
  const int64_t kv_size = config.n_kv_heads * config.head_dim;
  std::vector<TensorShape> tensors;
  tensors.reserve(static_cast<size_t>(3 + 15 * config.n_layers));
  tensors.push_back({"model.embed_tokens.weight", {config.vocab_size, hidden}});
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto add = [&](const char* name, std::vector<int64_t> shape) {
      tensors.push_back({prefix + name, std::move(shape)});
    };
    const auto add_linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
      add((name + ".weight").c_str(), {out, in});
      if (bias) add((name + ".bias").c_str(), {out});
    };
    add("input_layernorm.weight", {hidden});
    add_linear("self_attn.q_proj", q_size, hidden, config.qkv_bias);
    add_linear("self_attn.k_proj", kv_size, hidden, config.qkv_bias);
    add_linear("self_attn.v_proj", kv_size, hidden, config.qkv_bias);
    add_linear("self_attn.o_proj", hidden, q_size, config.out_bias);
    if (config.qk_norm) {
      add("self_attn.q_norm.weight", {config.head_dim});
      add("self_attn.k_norm.weight", {config.head_dim});
    }
    add("post_attention_layernorm.weight", {hidden});
    add("mlp.gate_proj.weight", {config.intermediate_size, hidden});
    add("mlp.up_proj.weight", {config.intermediate_size, hidden});
    add("mlp.down_proj.weight", {hidden, config.intermediate_size});
  }
  tensors.push_back({"model.norm.weight", {hidden}});
  if (!config.tie_embeddings) tensors.push_back({"lm_head.weight", {config.vocab_size, hidden}});
  return tensors;
}

ModelWeights fresh_weights(const ModelConfig& config, uint64_t seed) {
  check_model_config(config);
  check_fits_memory(weight_bytes(config, DType::kF32), "a fresh model's weights");
  // GPT-2's scheme: each layer adds two outputs to the residual stream, whose variance stays that of one matrix.
  const double deviation = 0.02;
  const double output_deviation = deviation / std::sqrt(2.0 * static_cast<double>(config.n_layers));
  ModelWeights weights(config, {});
  for (TensorShape& expected : expected_tensors(config)) {
    const auto count = static_cast<size_t>(element_count(expected.shape));
    HostTensor tensor{.name = std::move(expected.name), .shape = std::move(expected.shape), .values = {}};
    if (tensor.name.ends_with("norm.weight")) {
      tensor.values.assign(count, 1.0F);
    } else {
      const bool output = tensor.name.ends_with("o_proj.weight") || tensor.name.ends_with("down_proj.weight");
      // A stream per tensor: adding a layer does not change the start of the others.
      RandomStream random(seed, RngPurpose::kInit, hash_text(tensor.name));
      tensor.values.resize(count);
      for (float& value : tensor.values) {
        value = static_cast<float>((output ? output_deviation : deviation) * random.normal());
      }
    }
    weights.tensors.push_back(std::move(tensor));
  }
  return weights;
}

int64_t parameter_count(const ModelConfig& config) {
  int64_t count = 0;
  for (const TensorShape& tensor : expected_tensors(config)) count += element_count(tensor.shape);
  return count;
}

int64_t weight_bytes(const ModelConfig& config, DType type) {
  return parameter_count(config) * bytes_of(type);
}

std::vector<float> flatten(const ModelWeights& weights) {
  std::vector<float> values;
  values.reserve(static_cast<size_t>(parameter_count(weights.config)));
  const std::vector<TensorShape> expected = expected_tensors(weights.config);
  if (weights.tensors.size() != expected.size()) {
    failure("flatten: {} tensors, the model's shape has {}", weights.tensors.size(), expected.size());
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const HostTensor& tensor = weights.tensors[i];
    if (tensor.name != expected[i].name ||
        tensor.values.size() != static_cast<size_t>(element_count(expected[i].shape))) {
      failure("flatten: tensor {} is \"{}\" with {} values, expected \"{}\" with {}", i, tensor.name,
              tensor.values.size(), expected[i].name, element_count(expected[i].shape));
    }
    values.insert(values.end(), tensor.values.begin(), tensor.values.end());
  }
  return values;
}

}  // namespace deepsearch
