// Small models of every family as a WeightSource of any type, and a decoder over them in double precision, written as
// plainly as possible.
#pragma once

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "engine/cuda/device_fixture.h"
#include "model/rope.h"
#include "model/weights.h"

namespace deepsearch::testing {

class TinyModel final : public WeightSource {
 public:
  TinyModel(const ModelConfig& config, DType type, uint64_t seed) : config_(config), type_(type), numbers_(seed) {
    const int64_t h = config.hidden_size;
    const int64_t q = config.n_heads * config.head_dim;
    const int64_t kv = config.n_kv_heads * config.head_dim;
    matrix("model.embed_tokens.weight", config.vocab_size, h, 1);
    for (int64_t layer = 0; layer < config.n_layers; ++layer) {
      const std::string p = "model.layers." + std::to_string(layer) + ".";
      vector(p + "input_layernorm.weight", h, 1);
      matrix(p + "self_attn.q_proj.weight", q, h, 1);
      matrix(p + "self_attn.k_proj.weight", kv, h, 1);
      matrix(p + "self_attn.v_proj.weight", kv, h, 1);
      if (config.qkv_bias) vector(p + "self_attn.q_proj.bias", q, 0);
      if (config.qkv_bias) vector(p + "self_attn.k_proj.bias", kv, 0);
      if (config.qkv_bias) vector(p + "self_attn.v_proj.bias", kv, 0);
      if (config.qk_norm) vector(p + "self_attn.q_norm.weight", config.head_dim, 1);
      if (config.qk_norm) vector(p + "self_attn.k_norm.weight", config.head_dim, 1);
      matrix(p + "self_attn.o_proj.weight", h, q, 1);
      if (config.out_bias) vector(p + "self_attn.o_proj.bias", h, 0);
      vector(p + "post_attention_layernorm.weight", h, 1);
      matrix(p + "mlp.gate_proj.weight", config.intermediate_size, h, 1);
      matrix(p + "mlp.up_proj.weight", config.intermediate_size, h, 1);
      matrix(p + "mlp.down_proj.weight", h, config.intermediate_size, 1);
    }
    vector("model.norm.weight", h, 1);
    if (!config.tie_embeddings) matrix("lm_head.weight", config.vocab_size, h, 1);
  }

  const ModelConfig& model_config() const override { return config_; }
  size_t tensor_count() const override { return tensors_.size(); }
  TensorView view(size_t index) const override {
    const Tensor& t = tensors_.at(index);
    return {.name = &t.name,
            .type = type_,
            .shape = t.shape,
            .data = t.bytes.data(),
            .count = static_cast<int64_t>(t.values.size())};
  }
  void release(size_t /*index*/) const override {}

  const std::vector<float>& at(const std::string& name) const { return tensors_.at(index_.at(name)).values; }
  bool has(const std::string& name) const { return index_.count(name) > 0; }
  // Replaces one value.
  void damage(const std::string& name, size_t i, float value) {
    Tensor& t = tensors_.at(index_.at(name));
    t.values.at(i) = value;
    t.bytes = encode(type_, t.values);
  }

 private:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    std::vector<float> values;
    std::vector<std::byte> bytes;
  };
  void add(const std::string& name, std::vector<int64_t> shape, std::vector<float> values) {
    index_[name] = tensors_.size();
    for (float& v : values) v = round_to(type_, v);
    tensors_.push_back({.name = name, .shape = std::move(shape), .values = values, .bytes = encode(type_, values)});
  }
  void matrix(const std::string& name, int64_t rows, int64_t columns, float scale) {
    add(name, {rows, columns},
        numbers_.normals(static_cast<size_t>(rows * columns), scale / std::sqrt(static_cast<float>(columns))));
  }
  void vector(const std::string& name, int64_t n, float around) {
    std::vector<float> values = numbers_.normals(static_cast<size_t>(n), 0.2F);
    for (float& v : values) v += around;
    add(name, {n}, std::move(values));
  }

  ModelConfig config_;
  DType type_;
  Numbers numbers_;
  std::vector<Tensor> tensors_;
  std::map<std::string, size_t> index_;
};

// Logits after each token, [tokens][vocab].
class PlainDecoder {
 public:
  using Vector = std::vector<double>;
  // `stored`: the type the engine keeps weights in (rounded once more when the source is wider).
  PlainDecoder(const TinyModel& model, DType stored)
      : m_(model), c_(model.model_config()), rope_(make_rope_table(c_, c_.max_positions)) {
    for (size_t i = 0; i < model.tensor_count(); ++i) {
      const TensorView view = model.view(i);
      std::vector<float>& values = stored_[*view.name] = model.at(*view.name);
      if (view.shape.size() == 1) continue;  // norms and biases are kept in fp32
      for (float& v : values) v = round_to(stored, v);
    }
  }

  std::vector<Vector> logits(const std::vector<Token>& tokens) const {
    std::vector<Vector> x;
    for (const Token token : tokens) {
      const auto& e = stored_.at("model.embed_tokens.weight");
      Vector row;
      for (size_t i = 0; i < hidden(); ++i) row.push_back(e[static_cast<size_t>(token) * hidden() + i]);
      x.push_back(row);
    }
    for (int64_t layer = 0; layer < c_.n_layers; ++layer) run_layer("model.layers." + std::to_string(layer) + ".", x);
    std::vector<Vector> out;
    for (const Vector& state : x) {
      out.push_back(linear(c_.tie_embeddings ? "model.embed_tokens" : "lm_head", norm("model.norm.weight", state)));
    }
    return out;
  }

 private:
  size_t hidden() const { return static_cast<size_t>(c_.hidden_size); }

  Vector linear(const std::string& name, const Vector& x) const {
    const std::vector<float>& w = stored_.at(name + ".weight");
    Vector y(w.size() / x.size(), 0.0);
    for (size_t o = 0; o < y.size(); ++o) {
      for (size_t i = 0; i < x.size(); ++i) y[o] += double{w[o * x.size() + i]} * x[i];
      if (m_.has(name + ".bias")) y[o] += stored_.at(name + ".bias")[o];
    }
    return y;
  }
  Vector norm(const std::string& name, const Vector& x, size_t first, size_t n) const {
    double squares = 0;
    for (size_t i = 0; i < n; ++i) squares += x[first + i] * x[first + i];
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + c_.rms_norm_eps);
    Vector y(n);
    for (size_t i = 0; i < n; ++i) y[i] = x[first + i] * scale * stored_.at(name)[i];
    return y;
  }
  Vector norm(const std::string& name, const Vector& x) const { return norm(name, x, 0, x.size()); }

  void turn(Vector& x, size_t position, const std::string& gain) const {
    const auto d = static_cast<size_t>(c_.head_dim);
    for (size_t h = 0; h < x.size(); h += d) {
      if (c_.qk_norm) {
        const Vector y = norm(gain, x, h, d);
        std::copy(y.begin(), y.end(), x.begin() + static_cast<std::ptrdiff_t>(h));
      }
      for (size_t i = 0; i < d / 2; ++i) {
        const double cosine = rope_.cosines[position * (d / 2) + i];
        const double sine = rope_.sines[position * (d / 2) + i];
        const double a = x[h + i];
        const double b = x[h + i + d / 2];
        x[h + i] = a * cosine - b * sine;
        x[h + i + d / 2] = b * cosine + a * sine;
      }
    }
  }

  void run_layer(const std::string& p, std::vector<Vector>& x) const {
    std::vector<Vector> keys;
    std::vector<Vector> values;
    for (size_t t = 0; t < x.size(); ++t) {
      const Vector in = norm(p + "input_layernorm.weight", x[t]);
      Vector q = linear(p + "self_attn.q_proj", in);
      keys.push_back(linear(p + "self_attn.k_proj", in));
      values.push_back(linear(p + "self_attn.v_proj", in));
      turn(q, t, p + "self_attn.q_norm.weight");
      turn(keys.back(), t, p + "self_attn.k_norm.weight");
      const Vector mixed = linear(p + "self_attn.o_proj", attend(q, keys, values));
      for (size_t i = 0; i < mixed.size(); ++i) x[t][i] += mixed[i];
      const Vector middle = norm(p + "post_attention_layernorm.weight", x[t]);
      Vector gate = linear(p + "mlp.gate_proj", middle);
      const Vector up = linear(p + "mlp.up_proj", middle);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
      const Vector out = linear(p + "mlp.down_proj", gate);
      for (size_t i = 0; i < out.size(); ++i) x[t][i] += out[i];
    }
  }

  Vector attend(const Vector& q, const std::vector<Vector>& keys, const std::vector<Vector>& values) const {
    const auto d = static_cast<size_t>(c_.head_dim);
    const auto group = static_cast<size_t>(c_.n_heads / c_.n_kv_heads);
    Vector out(q.size(), 0.0);
    for (size_t h = 0; h * d < q.size(); ++h) {
      Vector weight(keys.size(), 0.0);
      double sum = 0;
      for (size_t j = 0; j < keys.size(); ++j) {
        for (size_t i = 0; i < d; ++i) weight[j] += q[h * d + i] * keys[j][h / group * d + i];
        weight[j] = std::exp(weight[j] / std::sqrt(static_cast<double>(d)));
        sum += weight[j];
      }
      for (size_t j = 0; j < keys.size(); ++j) {
        for (size_t i = 0; i < d; ++i) out[h * d + i] += weight[j] / sum * values[j][h / group * d + i];
      }
    }
    return out;
  }

  const TinyModel& m_;
  const ModelConfig& c_;
  std::map<std::string, std::vector<float>> stored_;
  RopeTable rope_;
};

inline ModelConfig tiny_config(ModelFamily family) {
  ModelConfig c;
  c.family = family;
  c.vocab_size = 53;
  c.hidden_size = 64;
  c.n_layers = 2;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.head_dim = 16;
  c.intermediate_size = 96;
  c.max_positions = 320;
  c.eos_tokens = {1};
  if (family == ModelFamily::kQwen2) {
    c.n_heads = 6;
    c.n_kv_heads = 1;
    c.head_dim = 10;
    c.hidden_size = 60;
    c.intermediate_size = 41;  // no size a multiple of the kernels'
    c.qkv_bias = true;
    c.tie_embeddings = true;
  }
  if (family == ModelFamily::kQwen3) {
    c.qk_norm = true;
    c.qkv_bias = true;
    c.out_bias = true;
    c.head_dim = 80;
  }
  return c;
}

}  // namespace deepsearch::testing
