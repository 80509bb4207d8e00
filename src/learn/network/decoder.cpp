#include "learn/network/decoder.h"

#include <algorithm>
#include <optional>
#include <span>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "core/activity.h"
#include "core/error.h"
#include "learn/network/autograd_nodes.h"
#include "learn/network/fused.h"
#include "learn/network/linear.h"
#include "learn/network/tree_attention.h"
#include "model/rope.h"
#include "model/safetensors.h"

namespace deepsearch {

namespace {

// One decoder layer's parameters; those the family does not have are undefined.
struct Layer {
  at::Tensor input_norm, q, q_bias, k, k_bias, v, v_bias, o, o_bias, q_norm, k_norm, post_norm, gate, up, down;
};

// The layer's parameters in expected_tensors() order.
std::vector<at::Tensor*> parameters_of(Layer& layer, const ModelConfig& config) {
  std::vector<at::Tensor*> all = {&layer.input_norm};
  const auto add_linear = [&](at::Tensor& weight, at::Tensor& bias, bool with_bias) {
    all.push_back(&weight);
    if (with_bias) all.push_back(&bias);
  };
  add_linear(layer.q, layer.q_bias, config.qkv_bias);
  add_linear(layer.k, layer.k_bias, config.qkv_bias);
  add_linear(layer.v, layer.v_bias, config.qkv_bias);
  add_linear(layer.o, layer.o_bias, config.out_bias);
  if (config.qk_norm) all.insert(all.end(), {&layer.q_norm, &layer.k_norm});
  all.insert(all.end(), {&layer.post_norm, &layer.gate, &layer.up, &layer.down});
  return all;
}

// Values of one tensor into `to`, a chunk at a time.
void copy_values(const WeightSource& source, size_t index, const at::Tensor& to) {
  constexpr int64_t kChunk = int64_t{1} << 20;
  const at::Tensor flat = to.view(-1);
  const TensorView tensor = source.view(index);
  std::vector<float> chunk(static_cast<size_t>(std::min(kChunk, tensor.count)));
  for (int64_t first = 0; first < tensor.count; first += kChunk) {
    const int64_t n = std::min(kChunk, tensor.count - first);
    tensor.read(first, std::span(chunk).first(static_cast<size_t>(n)));
    flat.narrow(0, first, n).copy_(at::from_blob(chunk.data(), {n}, at::kFloat));
  }
  source.release(index);
}

// [max_positions, head_dim/2] each.
struct Angles {
  at::Tensor cosines, sines;
};
Angles make_angles(const ModelConfig& config, const at::TensorOptions& options) {
  RopeTable table = make_rope_table(config, config.max_positions);
  const auto to_device = [&](std::vector<float>& values) {
    return at::from_blob(values.data(), {table.n_positions, table.half_dim}, at::kFloat).to(options, false, true);
  };
  return {to_device(table.cosines), to_device(table.sines)};
}

}  // namespace

struct Decoder::Impl {
  ModelConfig config;
  std::vector<TensorShape> expected;
  std::vector<at::Tensor> parameters;
  at::Tensor embedding, final_norm, head;
  std::vector<Layer> layers;
  Angles angles;

  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const {
    return rms_norm(x, weight, config.rms_norm_eps);
  }
  // [B, T, n_heads + 2·n_kv_heads, head_dim] of [B, T, hidden]; queries and keys normalised where the family does.
  at::Tensor joined_heads(const Layer& layer, const at::Tensor& normed) const;
  at::Tensor normed_heads(const Layer& layer, const at::Tensor& joined) const;
  at::Tensor output(const Layer& layer, const at::Tensor& mixed) const;
  at::Tensor attention(const Layer& layer, const at::Tensor& normed, const at::Tensor& cos, const at::Tensor& sin,
                       const at::Tensor& mask) const;
  at::Tensor feed_forward(const Layer& layer, const at::Tensor& normed) const;
  void notify(size_t group) const {
    report_progress();
    if (gradients_complete) gradients_complete(group);
  }
  at::Tensor packed_layer(size_t index, const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                          const std::shared_ptr<const AttentionPlan>& plan) const;

  std::vector<ParameterRange> groups;
  std::function<void(size_t)> gradients_complete;
  bool checkpointing = false;
};

at::Tensor Decoder::Impl::joined_heads(const Layer& layer, const at::Tensor& normed) const {
  const int64_t n_heads = config.n_heads;
  const int64_t n_kv = config.n_kv_heads;
  std::optional<at::Tensor> bias;
  if (config.qkv_bias) bias = at::cat({layer.q_bias, layer.k_bias, layer.v_bias});
  const at::Tensor joined = at::linear(normed, at::cat({layer.q, layer.k, layer.v}), bias)
                                .view({normed.size(0), normed.size(1), n_heads + 2 * n_kv, config.head_dim});
  return config.qk_norm ? normed_heads(layer, joined) : joined;
}

at::Tensor Decoder::Impl::normed_heads(const Layer& layer, const at::Tensor& joined) const {
  const int64_t n_heads = config.n_heads;
  const int64_t n_kv = config.n_kv_heads;
  return at::cat({norm(joined.narrow(2, 0, n_heads), layer.q_norm), norm(joined.narrow(2, n_heads, n_kv), layer.k_norm),
                  joined.narrow(2, n_heads + n_kv, n_kv)},
                 2);
}

at::Tensor Decoder::Impl::output(const Layer& layer, const at::Tensor& mixed) const {
  return at::linear(mixed, layer.o, config.out_bias ? std::optional(layer.o_bias) : std::nullopt);
}

at::Tensor Decoder::Impl::attention(const Layer& layer, const at::Tensor& normed, const at::Tensor& cos,
                                    const at::Tensor& sin, const at::Tensor& mask) const {
  const int64_t n_heads = config.n_heads;
  const QueryKeyValue heads = split_and_rotate(joined_heads(layer, normed), n_heads, config.n_kv_heads, cos, sin);
  std::optional<at::Tensor> attention_mask;
  if (mask.defined()) attention_mask = mask;
  const at::Tensor mixed =
      at::scaled_dot_product_attention(heads.q, heads.k, heads.v, attention_mask, /*dropout_p=*/0.0,
                                       /*is_causal=*/!mask.defined(), /*scale=*/std::nullopt,
                                       /*enable_gqa=*/config.n_kv_heads != n_heads);
  return output(layer, mixed.transpose(1, 2).reshape({normed.size(0), normed.size(1), n_heads * config.head_dim}));
}

at::Tensor Decoder::Impl::feed_forward(const Layer& layer, const at::Tensor& normed) const {
  return at::linear(gated_silu(at::linear(normed, at::cat({layer.gate, layer.up}))), layer.down);
}

// x [T, hidden] → the same.
at::Tensor Decoder::Impl::packed_layer(size_t index, const at::Tensor& input, const at::Tensor& cos,
                                       const at::Tensor& sin, const std::shared_ptr<const AttentionPlan>& plan) const {
  const Layer& layer = layers[index];
  const int64_t tokens = input.size(0);
  at::Tensor x = when_gradient_passes(input, [this, index] { notify(1 + index); });
  const int64_t n_kv = config.n_kv_heads;
  at::Tensor joined =
      linear(norm(x, layer.input_norm), {{layer.q, layer.q_bias}, {layer.k, layer.k_bias}, {layer.v, layer.v_bias}})
          .view({1, tokens, config.n_heads + 2 * n_kv, config.head_dim});
  if (config.qk_norm) joined = normed_heads(layer, joined);
  const QueryKeyValue heads = split_and_rotate(joined, config.n_heads, n_kv, cos, sin);
  const auto flat = [](const at::Tensor& one) { return one.squeeze(0).transpose(0, 1); };
  const at::Tensor mixed = tree_attention(flat(heads.q), flat(heads.k), flat(heads.v), plan);
  x = linear(mixed.reshape({tokens, config.n_heads * config.head_dim}), {{layer.o, layer.o_bias}}, x);
  const at::Tensor both = linear(norm(x, layer.post_norm), {{layer.gate, {}}, {layer.up, {}}});
  return linear(gated_silu(both), {{layer.down, {}}}, x);
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
    for (at::Tensor* tensor : parameters_of(layer, config)) *tensor = *next++;
    impl_->layers.push_back(std::move(layer));
  }
  impl_->final_norm = *next++;
  impl_->head = config.tie_embeddings ? impl_->embedding : *next++;
  impl_->angles = make_angles(config, options);
  const auto per_layer = static_cast<int64_t>(parameters_of(impl_->layers.front(), config).size());
  impl_->groups.push_back({0, 1});
  for (int64_t i = 0; i < config.n_layers; ++i) impl_->groups.push_back({1 + i * per_layer, 1 + (i + 1) * per_layer});
  impl_->groups.push_back({impl_->groups.back().end, static_cast<int64_t>(impl_->parameters.size())});
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
const std::vector<ParameterRange>& Decoder::parameter_groups() const {
  return impl_->groups;
}
void Decoder::on_gradients(std::function<void(size_t group)> complete) {
  impl_->gradients_complete = std::move(complete);
}
void Decoder::set_checkpointing(bool on) {
  impl_->checkpointing = on;
}

void Decoder::load(const WeightSource& weights) {
  const c10::NoGradGuard no_grad;
  const std::vector<TensorShape>& expected = impl_->expected;
  if (weights.tensor_count() != expected.size()) {
    failure("decoder: {} tensors to load, the model has {}", weights.tensor_count(), expected.size());
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const TensorView tensor = weights.view(i);
    if (*tensor.name != expected[i].name || !std::ranges::equal(tensor.shape, expected[i].shape) ||
        tensor.count != impl_->parameters[i].numel()) {
      failure("decoder: tensor {} to load is \"{}\" {}, expected \"{}\" {}", i, *tensor.name, shape_text(tensor.shape),
              expected[i].name, shape_text(expected[i].shape));
    }
    copy_values(weights, i, impl_->parameters[i]);
  }
}

ModelWeights Decoder::store() const {
  const c10::NoGradGuard no_grad;
  ModelWeights weights(impl_->config, {});
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
  const auto at_positions = [&](const at::Tensor& table) {
    return table.index_select(0, positions.flatten()).view({positions.size(0), -1, 1, table.size(1)});
  };
  const at::Tensor cos = at_positions(m.angles.cosines);
  const at::Tensor sin = at_positions(m.angles.sines);
  at::Tensor x = at::embedding(m.embedding, tokens);
  for (const Layer& layer : m.layers) {
    x = x + m.attention(layer, m.norm(x, layer.input_norm), cos, sin, mask);
    x = x + m.feed_forward(layer, m.norm(x, layer.post_norm));
  }
  return m.norm(x, m.final_norm);
}

at::Tensor Decoder::hidden(const at::Tensor& tokens, const at::Tensor& positions,
                           const std::shared_ptr<const AttentionPlan>& plan) const {
  const Impl& m = *impl_;
  const auto at_positions = [&](const at::Tensor& table) {
    return table.index_select(0, positions).view({1, positions.size(0), 1, table.size(1)});
  };
  const at::Tensor cos = at_positions(m.angles.cosines);
  const at::Tensor sin = at_positions(m.angles.sines);
  at::Tensor x = embed(m.embedding, tokens, [&m] { m.notify(0); });
  for (size_t i = 0; i < m.layers.size(); ++i) {
    const auto layer = [&m, i, cos, sin, plan](const at::Tensor& in) { return m.packed_layer(i, in, cos, sin, plan); };
    x = m.checkpointing && c10::GradMode::is_enabled() ? checkpointed(x, layer) : layer(x);
    report_progress();
  }
  x = when_gradient_passes(x, [&m] { m.notify(m.groups.size() - 1); });
  return m.norm(x, m.final_norm);
}

at::Tensor Decoder::logits(const at::Tensor& hidden) const {
  return at::linear(hidden, impl_->head);
}

}  // namespace deepsearch
