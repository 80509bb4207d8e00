#include "engine/native/packed_model.h"

#include <cmath>
#include <string>

#include "core/error.h"

namespace deepsearch::native {
namespace {

const HostTensor& checked(const ModelWeights& weights, const std::string& name, int64_t rows, int64_t columns) {
  const HostTensor& tensor = weights.at(name);
  if (static_cast<int64_t>(tensor.values.size()) != rows * columns) {
    failure("engine: tensor {} holds {} values, its shape is [{}, {}]", name, tensor.values.size(), rows, columns);
  }
  return tensor;
}

struct Part {
  const HostTensor* tensor;  // [rows, k]
  int64_t rows;
  int64_t first_column;  // where its outputs stand
};

PackedMatrix pack(const std::vector<Part>& parts, int64_t k) {
  int64_t columns = 0;
  for (const Part& part : parts) columns = std::max(columns, part.first_column + part.rows);
  PackedMatrix packed{.values = {}, .k = k, .panels = round_up(columns, kLanes) / kLanes};
  packed.values = AlignedBuffer(packed.panels * k * kLanes);
  for (const Part& part : parts) {
    for (int64_t row = 0; row < part.rows; ++row) {
      const int64_t column = part.first_column + row;
      float* panel = packed.values.data() + column / kLanes * k * kLanes + column % kLanes;
      const float* in = part.tensor->values.data() + row * k;
      for (int64_t i = 0; i < k; ++i) panel[i * kLanes] = in[i];
    }
  }
  return packed;
}

AlignedBuffer padded_rows(const HostTensor& tensor, int64_t rows, int64_t columns, int64_t stride) {
  AlignedBuffer buffer(rows * stride);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(tensor.values.data() + r * columns, columns, buffer.data() + r * stride);
  }
  return buffer;
}

void fill_rotations(PackedModel& model) {
  const int64_t half = model.config.head_dim / 2;
  model.cos = AlignedBuffer(model.config.max_positions * half);
  model.sin = AlignedBuffer(model.config.max_positions * half);
  for (int64_t i = 0; i < half; ++i) {
    const double frequency =
        std::pow(model.config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(model.config.head_dim));
    for (int64_t p = 0; p < model.config.max_positions; ++p) {
      const double angle = static_cast<double>(p) * frequency;
      model.cos.data()[p * half + i] = static_cast<float>(std::cos(angle));
      model.sin.data()[p * half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

PackedLayer pack_layer(const ModelWeights& weights, const PackedModel& shape, int64_t index) {
  const ModelConfig& config = weights.config;
  const int64_t h = config.hidden_size;
  const int64_t ff = config.intermediate_size;
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  const auto tensor = [&](const char* name, int64_t rows, int64_t columns) {
    return &checked(weights, prefix + name + ".weight", rows, columns);
  };
  PackedLayer layer;
  layer.input_norm = padded_rows(*tensor("input_layernorm", 1, h), 1, h, shape.hidden);
  layer.post_norm = padded_rows(*tensor("post_attention_layernorm", 1, h), 1, h, shape.hidden);
  layer.qkv = pack({{tensor("self_attn.q_proj", shape.q_size, h), shape.q_size, 0},
                    {tensor("self_attn.k_proj", shape.kv_size, h), shape.kv_size, shape.q_size},
                    {tensor("self_attn.v_proj", shape.kv_size, h), shape.kv_size, shape.q_size + shape.kv_size}},
                   h);
  layer.out = pack({{tensor("self_attn.o_proj", h, shape.q_size), h, 0}}, shape.q_size);
  layer.gate_up = pack({{tensor("mlp.gate_proj", ff, h), ff, 0}, {tensor("mlp.up_proj", ff, h), ff, shape.ff}}, h);
  layer.down = pack({{tensor("mlp.down_proj", h, ff), h, 0}}, ff);
  return layer;
}

}  // namespace

PackedModel pack_model(const ModelWeights& weights) {
  const ModelConfig& config = weights.config;
  PackedModel model;
  model.config = config;
  model.attention = {.n_heads = config.n_heads,
                     .n_kv_heads = config.n_kv_heads,
                     .head_dim = config.head_dim,
                     .head_dim_padded = round_up(config.head_dim, kLanes)};
  model.hidden = round_up(config.hidden_size, kLanes);
  model.q_size = config.n_heads * config.head_dim;
  model.kv_size = config.n_kv_heads * config.head_dim;
  model.qkv_stride = round_up(model.q_size + 2 * model.kv_size, kLanes);
  model.context_stride = round_up(model.q_size, kLanes);
  model.ff = round_up(config.intermediate_size, kLanes);
  model.vocab = round_up(config.vocab_size, kLanes);

  const HostTensor& embedding = checked(weights, "model.embed_tokens.weight", config.vocab_size, config.hidden_size);
  model.embedding = padded_rows(embedding, config.vocab_size, config.hidden_size, model.hidden);
  for (int64_t i = 0; i < config.n_layers; ++i) model.layers.push_back(pack_layer(weights, model, i));
  model.final_norm =
      padded_rows(checked(weights, "model.norm.weight", 1, config.hidden_size), 1, config.hidden_size, model.hidden);
  const HostTensor& head =
      config.tie_embeddings ? embedding : checked(weights, "lm_head.weight", config.vocab_size, config.hidden_size);
  model.head = pack({{&head, config.vocab_size, 0}}, config.hidden_size);
  fill_rotations(model);
  return model;
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
