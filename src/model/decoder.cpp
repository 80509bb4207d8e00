#include "model/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "model/fused.h"
#include "model/rope.h"
#include "model/safetensors.h"

namespace deepsearch {

namespace {

// One decoder layer's parameters, in expected_tensors() order.
struct Layer {
  at::Tensor input_norm, q, k, v, o, post_norm, gate, up, down;
};

}  // namespace

struct Decoder::Impl {
  ModelConfig config;
  std::vector<TensorShape> expected;
  std::vector<at::Tensor> parameters;
  at::Tensor embedding, final_norm, head;
  std::vector<Layer> layers;
  at::Tensor cosines, sines;  // [max_positions, head_dim/2]

  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const {
    return rms_norm(x, weight, config.rms_norm_eps);
  }
  at::Tensor attention(const Layer& layer, const at::Tensor& normed, const at::Tensor& cos, const at::Tensor& sin,
                       const at::Tensor& mask) const;
  at::Tensor feed_forward(const Layer& layer, const at::Tensor& normed) const;
};

at::Tensor Decoder::Impl::attention(const Layer& layer, const at::Tensor& normed, const at::Tensor& cos,
                                    const at::Tensor& sin, const at::Tensor& mask) const {
  const int64_t rows = normed.size(0);
  const int64_t length = normed.size(1);
  const int64_t n_heads = config.n_heads;
  const int64_t n_kv = config.n_kv_heads;
  const at::Tensor joined = at::linear(normed, at::cat({layer.q, layer.k, layer.v}))
                                .view({rows, length, n_heads + 2 * n_kv, config.head_dim});
  const QueryKeyValue heads = split_and_rotate(joined, n_heads, n_kv, cos, sin);
  std::optional<at::Tensor> attention_mask;
  if (mask.defined()) attention_mask = mask;
  const at::Tensor mixed =
      at::scaled_dot_product_attention(heads.q, heads.k, heads.v, attention_mask, /*dropout_p=*/0.0,
                                       /*is_causal=*/!mask.defined(), /*scale=*/std::nullopt,
                                       /*enable_gqa=*/n_kv != n_heads);
  return at::linear(mixed.transpose(1, 2).reshape({rows, length, n_heads * config.head_dim}), layer.o);
}

at::Tensor Decoder::Impl::feed_forward(const Layer& layer, const at::Tensor& normed) const {
  return at::linear(gated_silu(at::linear(normed, at::cat({layer.gate, layer.up}))), layer.down);
}

Decoder::Decoder(const ModelConfig& config, at::Device device, at::ScalarType dtype) : impl_(std::make_unique<Impl>()) {
  check_model_config(config);
  impl_->config = config;
  impl_->expected = expected_tensors(config);
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  for (const TensorShape& tensor : impl_->expected) {
    impl_->parameters.push_back(at::zeros(tensor.shape, options).requires_grad_(true));
  }
  auto next = impl_->parameters.begin();
  impl_->embedding = *next++;
  for (int64_t i = 0; i < config.n_layers; ++i) {
    Layer layer;
    for (at::Tensor* tensor : {&layer.input_norm, &layer.q, &layer.k, &layer.v, &layer.o, &layer.post_norm, &layer.gate,
                               &layer.up, &layer.down}) {
      *tensor = *next++;
    }
    impl_->layers.push_back(std::move(layer));
  }
  impl_->final_norm = *next++;
  impl_->head = config.tie_embeddings ? impl_->embedding : *next++;

  RopeTable table = make_rope_table(config);
  const auto to_device = [&](std::vector<float>& values) {
    return at::from_blob(values.data(), {table.n_positions, table.half_dim}, at::kFloat).to(options, false, true);
  };
  impl_->cosines = to_device(table.cosines);
  impl_->sines = to_device(table.sines);
}

Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

const ModelConfig& Decoder::config() const {
  return impl_->config;
}
const std::vector<at::Tensor>& Decoder::parameters() const {
  return impl_->parameters;
}

void Decoder::load(const ModelWeights& weights) {
  const c10::NoGradGuard no_grad;
  if (weights.tensors.size() != impl_->expected.size()) {
    failure("decoder: {} tensors to load, the model has {}", weights.tensors.size(), impl_->expected.size());
  }
  for (size_t i = 0; i < impl_->expected.size(); ++i) {
    const HostTensor& tensor = weights.tensors[i];
    const TensorShape& expected = impl_->expected[i];
    if (tensor.name != expected.name || tensor.shape != expected.shape ||
        tensor.values.size() != static_cast<size_t>(impl_->parameters[i].numel())) {
      failure("decoder: tensor {} to load is \"{}\" {}, expected \"{}\" {}", i, tensor.name, shape_text(tensor.shape),
              expected.name, shape_text(expected.shape));
    }
    // copy_ only reads its argument.
    impl_->parameters[i].copy_(at::from_blob(const_cast<float*>(tensor.values.data()), expected.shape, at::kFloat));
  }
}

ModelWeights Decoder::store() const {
  const c10::NoGradGuard no_grad;
  ModelWeights weights{.config = impl_->config, .tensors = {}};
  for (size_t i = 0; i < impl_->expected.size(); ++i) {
    const at::Tensor host = impl_->parameters[i].to(at::kCPU, at::kFloat).contiguous();
    const float* values = host.const_data_ptr<float>();
    weights.tensors.push_back({.name = impl_->expected[i].name,
                               .shape = impl_->expected[i].shape,
                               .values = std::vector<float>(values, values + host.numel())});
  }
  return weights;
}

at::Tensor Decoder::hidden(const at::Tensor& tokens, const at::Tensor& positions, const at::Tensor& mask) const {
  const Impl& m = *impl_;
  // [B or 1, T, 1, head_dim/2]: the same for all heads.
  const at::Tensor cos =
      m.cosines.index_select(0, positions.flatten()).view({positions.size(0), -1, 1, m.cosines.size(1)});
  const at::Tensor sin = m.sines.index_select(0, positions.flatten()).view({positions.size(0), -1, 1, m.sines.size(1)});
  at::Tensor x = at::embedding(m.embedding, tokens);
  for (const Layer& layer : m.layers) {
    x = x + m.attention(layer, m.norm(x, layer.input_norm), cos, sin, mask);
    x = x + m.feed_forward(layer, m.norm(x, layer.post_norm));
  }
  return m.norm(x, m.final_norm);
}

at::Tensor Decoder::logits(const at::Tensor& hidden) const {
  return at::linear(hidden, impl_->head);
}

}  // namespace deepsearch
