#include "engine/native/packed_model.h"

#include <algorithm>

#include "core/error.h"
#include "core/memory.h"

namespace deepsearch::native {

Widths::Widths(const ModelConfig& config)
    : hidden(round_up(config.hidden_size, kLanes)),
      q(config.n_heads * config.head_dim),
      kv(config.n_kv_heads * config.head_dim),
      qkv(round_up(q + 2 * kv, kLanes)),
      context(round_up(q, kLanes)),
      ff(round_up(config.intermediate_size, kLanes)),
      vocab(round_up(config.vocab_size, kLanes)) {}

PackedModel::PackedModel(const ModelConfig& config, WeightStorage storage)
    : config_(config), storage_(storage), widths_(config) {
  layers_.resize(static_cast<size_t>(config.n_layers));
  // Once to count, once to place.
  int64_t bytes = 0;
  lay_out([&](int64_t n) {
    bytes += round_up(n, 64);
    return static_cast<std::byte*>(nullptr);
  });
  check_fits_memory(bytes, "the engine's weights");  // pages are lazy: without this the system would kill us later
  memory_ = Pages(bytes);
  std::byte* next = memory_.data();
  lay_out([&](int64_t n) {
    std::byte* place = next;
    next += round_up(n, 64);
    return place;
  });
  add_places();
  row_.resize(static_cast<size_t>(std::max({config.hidden_size, widths_.q, config.intermediate_size})));
}

// allocate(bytes) → where they lie.
template <class Allocate>
void PackedModel::lay_out(const Allocate& allocate) {
  const auto matrix = [&](int64_t k, int64_t columns) {
    const int64_t panels = columns / kLanes;
    return PackedMatrix(storage_, k, panels, allocate(PackedMatrix::bytes(storage_, k, panels)));
  };
  const auto vector = [&](int64_t n) {
    return reinterpret_cast<float*>(allocate(n * static_cast<int64_t>(sizeof(float))));
  };
  if (!config_.tie_embeddings) embedding_ = matrix(config_.hidden_size, widths_.vocab);
  for (PackedLayer& layer : layers_) {
    layer.input_norm = vector(widths_.hidden);
    layer.qkv = matrix(config_.hidden_size, widths_.qkv);
    if (config_.qkv_bias) layer.qkv_bias = vector(widths_.qkv);
    if (config_.qk_norm) {
      layer.q_norm = vector(config_.head_dim);
      layer.k_norm = vector(config_.head_dim);
    }
    layer.out = matrix(widths_.q, widths_.hidden);
    if (config_.out_bias) layer.out_bias = vector(widths_.hidden);
    layer.post_norm = vector(widths_.hidden);
    layer.gate_up = matrix(config_.hidden_size, 2 * widths_.ff);
    layer.down = matrix(config_.intermediate_size, widths_.hidden);
  }
  final_norm_ = vector(widths_.hidden);
  head_ = matrix(config_.hidden_size, widths_.vocab);
}

void PackedModel::add_places() {
  const int64_t h = config_.hidden_size;
  const auto matrix = [&](const std::string& name, int64_t rows, int64_t columns, PackedMatrix& to,
                          int64_t first_column = 0, int64_t panel_step = 1) {
    places_.push_back({name + ".weight", rows, columns, &to, nullptr, first_column, panel_step});
  };
  const auto vector = [&](const std::string& name, int64_t n, float* to) {
    places_.push_back({name, 1, n, nullptr, to});
  };
  matrix("model.embed_tokens", config_.vocab_size, h, config_.tie_embeddings ? head_ : embedding_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    PackedLayer& layer = layers_[i];
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    const std::string attention = prefix + "self_attn.";
    vector(prefix + "input_layernorm.weight", h, layer.input_norm);
    matrix(attention + "q_proj", widths_.q, h, layer.qkv);
    matrix(attention + "k_proj", widths_.kv, h, layer.qkv, widths_.q);
    matrix(attention + "v_proj", widths_.kv, h, layer.qkv, widths_.q + widths_.kv);
    matrix(attention + "o_proj", h, widths_.q, layer.out);
    if (config_.qkv_bias) {
      vector(attention + "q_proj.bias", widths_.q, layer.qkv_bias);
      vector(attention + "k_proj.bias", widths_.kv, layer.qkv_bias + widths_.q);
      vector(attention + "v_proj.bias", widths_.kv, layer.qkv_bias + widths_.q + widths_.kv);
    }
    if (config_.out_bias) vector(attention + "o_proj.bias", h, layer.out_bias);
    if (config_.qk_norm) {
      vector(attention + "q_norm.weight", config_.head_dim, layer.q_norm);
      vector(attention + "k_norm.weight", config_.head_dim, layer.k_norm);
    }
    vector(prefix + "post_attention_layernorm.weight", h, layer.post_norm);
    matrix(prefix + "mlp.gate_proj", config_.intermediate_size, h, layer.gate_up, 0, 2);
    matrix(prefix + "mlp.up_proj", config_.intermediate_size, h, layer.gate_up, kLanes, 2);
    matrix(prefix + "mlp.down_proj", h, config_.intermediate_size, layer.down);
  }
  vector("model.norm.weight", h, final_norm_);
  if (!config_.tie_embeddings) matrix("lm_head", config_.vocab_size, h, head_);
  std::sort(places_.begin(), places_.end(), [](const Place& a, const Place& b) { return a.name < b.name; });
}

void PackedModel::fill(const WeightSource& weights) {
  if (!(weights.model_config() == config_)) {
    failure("engine: weights of another model shape than the engine was made for");
  }
  if (weights.tensor_count() != places_.size()) {
    failure("engine: {} weight tensors, the model's shape has {}", weights.tensor_count(), places_.size());
  }
  filled_ = false;
  for (size_t i = 0; i < weights.tensor_count(); ++i) {
    const TensorView tensor = weights.view(i);
    const auto place = std::lower_bound(places_.begin(), places_.end(), *tensor.name,
                                        [](const Place& a, const std::string& name) { return a.name < name; });
    if (place == places_.end() || place->name != *tensor.name) {
      failure("engine: no place for a tensor {} in this model's shape", *tensor.name);
    }
    if (tensor.count != place->rows * place->columns) {
      failure("engine: tensor {} holds {} values, its shape is [{}, {}]", *tensor.name, tensor.count, place->rows,
              place->columns);
    }
    take(*place, tensor);
    weights.release(i);
  }
  filled_ = true;
}

void PackedModel::take(const Place& place, const TensorView& tensor) {
  if (place.matrix != nullptr) {
    place.matrix->pack(tensor, place.rows, place.first_column, place.panel_step, row_);
  } else {
    tensor.read(0, {place.vector, static_cast<size_t>(place.columns)});
  }
}

void PackedModel::embed(Token token, float* out) const {
  (config_.tie_embeddings ? head_ : embedding_).column(token, out);
  std::fill(out + config_.hidden_size, out + widths_.hidden, 0.0F);
}

double flops_per_token(const ModelConfig& config, int64_t positions) {
  const auto h = static_cast<double>(config.hidden_size);
  const auto q = static_cast<double>(config.n_heads * config.head_dim);
  const auto kv = static_cast<double>(config.n_kv_heads * config.head_dim);
  const auto ff = static_cast<double>(config.intermediate_size);
  const double layer = h * (q + 2 * kv) + q * h + 3 * h * ff + 2 * q * static_cast<double>(positions);
  return 2 * (static_cast<double>(config.n_layers) * layer + h * static_cast<double>(config.vocab_size));
}

}  // namespace deepsearch::native
