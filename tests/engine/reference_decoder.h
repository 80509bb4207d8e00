// Small models and a decoder in double precision, written as plainly as possible: what the engines are held to.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "model/rope.h"
#include "model/weights.h"

namespace deepsearch::testing {

inline ModelConfig small_config() {
  ModelConfig config;
  config.vocab_size = 23;
  config.hidden_size = 32;
  config.n_layers = 2;
  config.n_heads = 4;
  config.n_kv_heads = 4;
  config.head_dim = 8;
  config.intermediate_size = 48;
  config.max_positions = 128;
  config.eos_tokens = {1};
  return config;
}

// Grouped queries, tied embeddings, and no size a multiple of the kernels' 16 lanes.
inline ModelConfig odd_config() {
  ModelConfig config = small_config();
  config.vocab_size = 37;
  config.hidden_size = 30;
  config.n_heads = 6;
  config.n_kv_heads = 2;
  config.head_dim = 10;
  config.intermediate_size = 41;
  config.tie_embeddings = true;
  return config;
}

// Head wider than the lanes and not a multiple of them.
inline ModelConfig wide_config() {
  ModelConfig config = small_config();
  config.n_heads = 2;
  config.n_kv_heads = 1;
  config.head_dim = 40;
  return config;
}

// Every place where relatives of Llama differ: biases everywhere, normalised heads.
inline ModelConfig family_config(bool qkv_bias, bool out_bias, bool qk_norm) {
  ModelConfig config = odd_config();
  config.family = qk_norm ? ModelFamily::kQwen3 : qkv_bias && !out_bias ? ModelFamily::kQwen2 : ModelFamily::kLlama;
  config.qkv_bias = qkv_bias;
  config.out_bias = out_bias;
  config.qk_norm = qk_norm;
  config.tie_embeddings = false;
  return config;
}

// Positions stretched in one of the ways models do.
inline ModelConfig stretched_config(RopeScaling::Kind kind) {
  ModelConfig config = small_config();
  config.rope_scaling = {.kind = kind, .factor = 4.0, .original_max_positions = 32};
  return config;
}

// Fresh weights made large enough that predictions are far from uniform, norms that are not all ones, and biases.
inline ModelWeights lively_weights(const ModelConfig& config, uint64_t seed, float scale = 8.0F) {
  ModelWeights weights = fresh_weights(config, seed);
  for (HostTensor& tensor : weights.tensors) {
    for (size_t i = 0; i < tensor.values.size(); ++i) {
      if (tensor.name.ends_with(".bias")) {
        tensor.values[i] = 0.1F * static_cast<float>((i * 5 + seed) % 11) - 0.5F;
      } else if (tensor.shape.size() == 1) {
        tensor.values[i] = 0.6F + 0.05F * static_cast<float>((i * 7 + seed) % 13);
      } else {
        tensor.values[i] *= scale;
      }
    }
  }
  return weights;
}

// Logits after each token, [tokens][vocab], straight from the definition.
class ReferenceDecoder {
 public:
  explicit ReferenceDecoder(const ModelWeights& weights) : w_(weights), c_(weights.config) {
    const RopeFrequencies rope = rope_frequencies(c_);  // held to transformers' by the tests of model/rope.h
    factor_ = static_cast<double>(rope.attention_factor);
    for (int64_t i = 0; i < c_.head_dim / 2; ++i) {
      const double plain = std::pow(c_.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(c_.head_dim));
      const bool scaled = c_.rope_scaling.kind != RopeScaling::Kind::kNone;
      frequencies_.push_back(scaled ? static_cast<double>(rope.inverse[static_cast<size_t>(i)]) : plain);
    }
  }

  std::vector<std::vector<double>> logits(const std::vector<Token>& tokens) const {
    std::vector<std::vector<double>> x;
    for (const Token token : tokens) x.push_back(row("model.embed_tokens.weight", token));
    for (int64_t layer = 0; layer < c_.n_layers; ++layer) run_layer("model.layers." + std::to_string(layer) + ".", x);
    std::vector<std::vector<double>> out;
    for (const auto& state : x) {
      out.push_back(
          linear(c_.tie_embeddings ? "model.embed_tokens.weight" : "lm_head.weight", norm("model.norm.weight", state)));
    }
    return out;
  }

 private:
  using Vector = std::vector<double>;

  Vector row(const std::string& name, int64_t index) const {
    const HostTensor& t = w_.at(name);
    const auto n = static_cast<std::ptrdiff_t>(t.shape[1]);
    return Vector(t.values.begin() + index * n, t.values.begin() + (index + 1) * n);
  }
  Vector linear(const std::string& name, const Vector& x) const {
    const HostTensor& t = w_.at(name);
    Vector y(static_cast<size_t>(t.shape[0]), 0.0);
    for (size_t o = 0; o < y.size(); ++o) {
      for (size_t i = 0; i < x.size(); ++i) y[o] += static_cast<double>(t.values[o * x.size() + i]) * x[i];
    }
    return y;
  }
  // Linear with a bias, where the model has one.
  Vector affine(const std::string& name, const Vector& x, bool bias) const {
    Vector y = linear(name + ".weight", x);
    if (bias) {
      for (size_t i = 0; i < y.size(); ++i) y[i] += static_cast<double>(w_.at(name + ".bias").values[i]);
    }
    return y;
  }
  Vector norm(const std::string& name, const Vector& x) const {
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(x.size()) + c_.rms_norm_eps);
    Vector y(x.size());
    for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * static_cast<double>(w_.at(name).values[i]);
    return y;
  }
  // Each head by itself.
  void norm_heads(const std::string& name, Vector& x) const {
    const auto d = static_cast<std::ptrdiff_t>(c_.head_dim);
    for (auto head = x.begin(); head != x.end(); head += d) {
      const Vector y = norm(name, Vector(head, head + d));
      std::copy(y.begin(), y.end(), head);
    }
  }
  void rotate(Vector& x, size_t position) const {
    const auto d = static_cast<size_t>(c_.head_dim);
    for (size_t head = 0; head * d < x.size(); ++head) {
      for (size_t i = 0; i < d / 2; ++i) {
        const double angle = static_cast<double>(position) * frequencies_[i];
        double& a = x[head * d + i];
        double& b = x[head * d + i + d / 2];
        const double a0 = a;
        a = factor_ * (a0 * std::cos(angle) - b * std::sin(angle));
        b = factor_ * (b * std::cos(angle) + a0 * std::sin(angle));
      }
    }
  }
  void run_layer(const std::string& prefix, std::vector<Vector>& x) const {
    const auto d = static_cast<size_t>(c_.head_dim);
    const auto heads = static_cast<size_t>(c_.n_heads);
    const size_t group = heads / static_cast<size_t>(c_.n_kv_heads);
    std::vector<Vector> keys;
    std::vector<Vector> values;
    for (size_t t = 0; t < x.size(); ++t) {
      const Vector in = norm(prefix + "input_layernorm.weight", x[t]);
      Vector q = affine(prefix + "self_attn.q_proj", in, c_.qkv_bias);
      keys.push_back(affine(prefix + "self_attn.k_proj", in, c_.qkv_bias));
      values.push_back(affine(prefix + "self_attn.v_proj", in, c_.qkv_bias));
      if (c_.qk_norm) {
        norm_heads(prefix + "self_attn.q_norm.weight", q);
        norm_heads(prefix + "self_attn.k_norm.weight", keys.back());
      }
      rotate(q, t);
      rotate(keys.back(), t);
      Vector context(heads * d, 0.0);
      for (size_t h = 0; h < heads; ++h) {
        Vector weight(t + 1, 0.0);
        double sum = 0;
        for (size_t j = 0; j <= t; ++j) {
          for (size_t i = 0; i < d; ++i) weight[j] += q[h * d + i] * keys[j][h / group * d + i];
          weight[j] = std::exp(weight[j] / std::sqrt(static_cast<double>(d)));
          sum += weight[j];
        }
        for (size_t j = 0; j <= t; ++j) {
          for (size_t i = 0; i < d; ++i) context[h * d + i] += weight[j] / sum * values[j][h / group * d + i];
        }
      }
      const Vector mixed = affine(prefix + "self_attn.o_proj", context, c_.out_bias);
      for (size_t i = 0; i < mixed.size(); ++i) x[t][i] += mixed[i];
    }
    for (Vector& state : x) {
      const Vector in = norm(prefix + "post_attention_layernorm.weight", state);
      Vector gate = linear(prefix + "mlp.gate_proj.weight", in);
      const Vector up = linear(prefix + "mlp.up_proj.weight", in);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
      const Vector out = linear(prefix + "mlp.down_proj.weight", gate);
      for (size_t i = 0; i < out.size(); ++i) state[i] += out[i];
    }
  }

  const ModelWeights& w_;
  const ModelConfig& c_;
  std::vector<double> frequencies_;
  double factor_ = 1;
};

struct Distribution {
  std::vector<double> probabilities;
  double entropy = 0;
};

inline Distribution softmax(const std::vector<double>& logits, double temperature = 1.0) {
  double largest = -1e300;
  for (const double l : logits) largest = std::max(largest, l);
  Distribution d;
  double sum = 0;
  for (const double l : logits) {
    d.probabilities.push_back(std::exp((l - largest) / temperature));
    sum += d.probabilities.back();
  }
  for (double& p : d.probabilities) {
    p /= sum;
    if (p > 0) d.entropy -= p * std::log(p);
  }
  return d;
}

inline std::vector<Token> prompt_of(uint64_t which, int64_t n, const ModelConfig& config) {
  std::vector<Token> tokens;
  for (int64_t i = 0; i < n; ++i) {
    tokens.push_back(static_cast<Token>(2 + (which * 5 + static_cast<uint64_t>(i * i + 3 * i)) %
                                                static_cast<uint64_t>(config.vocab_size - 2)));
  }
  return tokens;
}

}  // namespace deepsearch::testing
