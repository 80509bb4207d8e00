// Small models, requests and a decoder in double precision, written as plainly as possible: what the engine is held to.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/weights.h"
#include "search/step_generator.h"

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

// Fresh weights made large enough that predictions are far from uniform, and norms that are not all ones.
inline ModelWeights lively_weights(const ModelConfig& config, uint64_t seed, float scale = 8.0F) {
  ModelWeights weights = fresh_weights(config, seed);
  for (HostTensor& tensor : weights.tensors) {
    for (size_t i = 0; i < tensor.values.size(); ++i) {
      if (tensor.shape.size() == 1) {
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
  explicit ReferenceDecoder(const ModelWeights& weights) : w_(weights), c_(weights.config) {}

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
  Vector norm(const std::string& name, const Vector& x) const {
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(x.size()) + c_.rms_norm_eps);
    Vector y(x.size());
    for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * static_cast<double>(w_.at(name).values[i]);
    return y;
  }
  void rotate(Vector& x, size_t position) const {
    const auto d = static_cast<size_t>(c_.head_dim);
    for (size_t head = 0; head * d < x.size(); ++head) {
      for (size_t i = 0; i < d / 2; ++i) {
        const double angle = static_cast<double>(position) *
                             std::pow(c_.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(d));
        double& a = x[head * d + i];
        double& b = x[head * d + i + d / 2];
        const double a0 = a;
        a = a0 * std::cos(angle) - b * std::sin(angle);
        b = b * std::cos(angle) + a0 * std::sin(angle);
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
      Vector q = linear(prefix + "self_attn.q_proj.weight", in);
      keys.push_back(linear(prefix + "self_attn.k_proj.weight", in));
      values.push_back(linear(prefix + "self_attn.v_proj.weight", in));
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
      const Vector mixed = linear(prefix + "self_attn.o_proj.weight", context);
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

inline ExpansionRequest root_request(uint64_t tree, const std::vector<Token>& prompt, int32_t n_children,
                                     int32_t max_tokens) {
  ExpansionRequest request;
  request.tree = tree;
  request.node = 0;
  request.path = {{.node = 0, .n_tokens = static_cast<int32_t>(prompt.size())}};
  request.prefix = prompt;
  request.n_children = n_children;
  request.first_child = 1;
  request.max_tokens = max_tokens;
  request.sampling_key = 1000 + tree;
  return request;
}

// The request for the child with number `index` of `expansion`, itself made by `parent`.
inline ExpansionRequest child_request(const ExpansionRequest& parent, const Expansion& expansion, int32_t index,
                                      int32_t first_child) {
  ExpansionRequest request = parent;
  const std::vector<Token>& tokens = expansion.children.at(static_cast<size_t>(index)).tokens;
  request.node = parent.first_child + index;
  request.path.push_back({.node = request.node, .n_tokens = static_cast<int32_t>(tokens.size())});
  request.prefix.insert(request.prefix.end(), tokens.begin(), tokens.end());
  request.first_child = first_child;
  request.sampling_key = parent.sampling_key * 31 + static_cast<uint64_t>(index) + 1;
  return request;
}

inline std::vector<Expansion> drain(StepGenerator& generator) {
  std::vector<Expansion> finished;
  while (generator.in_flight() > 0) generator.poll(finished);
  return finished;
}

inline Expansion expand(StepGenerator& generator, const ExpansionRequest& request) {
  generator.submit(request);
  std::vector<Expansion> finished = drain(generator);
  return finished.at(0);
}

inline std::unique_ptr<Engine> native_engine(const ModelWeights& weights, int64_t max_batch = 256, int64_t threads = 1,
                                             uint64_t seed = 5) {
  EngineParams params;
  params.backend = "native";
  params.device = "cpu";
  params.max_batch = max_batch;
  params.threads = threads;
  auto engine = make_engine(params, weights.config, seed, 0);
  engine->set_weights(weights, 1);
  return engine;
}

inline bool same_children(const Expansion& a, const Expansion& b) {
  if (a.children.size() != b.children.size()) return false;
  for (size_t i = 0; i < a.children.size(); ++i) {
    const Step& x = a.children[i];
    const Step& y = b.children[i];
    if (x.tokens != y.tokens || x.logprobs != y.logprobs || x.entropies != y.entropies || x.finish != y.finish)
      return false;
  }
  return true;
}

inline std::map<uint64_t, Expansion> by_tree(std::vector<Expansion> expansions) {
  std::map<uint64_t, Expansion> map;
  for (Expansion& expansion : expansions) map[expansion.tree] = std::move(expansion);
  return map;
}

}  // namespace deepsearch::testing
