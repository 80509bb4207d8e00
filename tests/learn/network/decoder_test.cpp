#include "learn/network/decoder.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include "model/model_fixtures.h"

namespace deepsearch {
namespace {

// More threads only wait for each other at these sizes.
class OneThread : public ::testing::Environment {
  void SetUp() override { at::set_num_threads(1); }
};
const ::testing::Environment* const kOneThread = ::testing::AddGlobalTestEnvironment(new OneThread);

at::Tensor random_tokens(const ModelConfig& config, int64_t rows, int64_t length, uint64_t seed) {
  RandomStream random(seed, RngPurpose::kTests, 3);
  at::Tensor tokens = at::empty({rows, length}, at::kLong);
  auto* values = tokens.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < tokens.numel(); ++i) {
    values[i] = static_cast<int64_t>(random.below(static_cast<uint64_t>(config.vocab_size)));
  }
  return tokens;
}

at::Tensor counted_positions(int64_t length) {
  return at::arange(length, at::kLong).unsqueeze(0);
}

double largest(const at::Tensor& difference) {
  return difference.abs().max().item<double>();
}

Decoder make_decoder(const ModelConfig& config, uint64_t seed, at::ScalarType dtype = at::kFloat) {
  Decoder decoder(config, at::kCPU, dtype);
  decoder.load(lively_weights(config, seed));
  return decoder;
}

// The network of decoder.h's head comment, one position and one head at a time, in double: slow, and nothing joined.
class SlowDecoder {
 public:
  explicit SlowDecoder(const ModelWeights& weights) : weights_(weights), config_(weights.config) {}

  // Logits of the last of `tokens` under the causal mask.
  std::vector<double> last_logits(const std::vector<int64_t>& tokens) {
    std::vector<std::vector<double>> x;
    for (const int64_t token : tokens) {
      const auto& values = weights_.at("model.embed_tokens.weight").values;
      const auto begin = values.begin() + token * config_.hidden_size;
      x.emplace_back(begin, begin + config_.hidden_size);
    }
    for (int64_t layer = 0; layer < config_.n_layers; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      add_attention(prefix, x);
      for (auto& row : x) add_feed_forward(prefix, row);
    }
    const std::string head = config_.tie_embeddings ? "model.embed_tokens" : "lm_head";
    return product(head, normed("model.norm.weight", x.back()));
  }

 private:
  std::vector<double> product(const std::string& name, const std::vector<double>& in, bool bias = false) {
    const HostTensor& matrix = weights_.at(name + ".weight");
    std::vector<double> out(static_cast<size_t>(matrix.shape[0]), 0.0);
    if (bias) {
      const std::vector<float>& values = weights_.at(name + ".bias").values;
      out.assign(values.begin(), values.end());
    }
    for (size_t o = 0; o < out.size(); ++o) {
      for (size_t i = 0; i < in.size(); ++i) out[o] += matrix.values[o * in.size() + i] * in[i];
    }
    return out;
  }

  std::vector<double> normed(const std::string& name, std::vector<double> x) {
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(x.size()) + config_.rms_norm_eps);
    for (size_t i = 0; i < x.size(); ++i) x[i] *= scale * weights_.at(name).values[i];
    return x;
  }

  void norm_heads(const std::string& name, std::vector<double>& heads) {
    const auto dim = static_cast<std::ptrdiff_t>(config_.head_dim);
    for (auto head = heads.begin(); head != heads.end(); head += dim) {
      const std::vector<double> one = normed(name, {head, head + dim});
      std::copy(one.begin(), one.end(), head);
    }
  }

  void rotate(std::vector<double>& heads, size_t position) const {
    const auto dim = static_cast<size_t>(config_.head_dim);
    for (size_t head = 0; head < heads.size(); head += dim) {
      for (size_t i = 0; i < dim / 2; ++i) {
        const double angle = static_cast<double>(position) *
                             std::pow(config_.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(dim));
        const double a = heads[head + i];
        const double b = heads[head + dim / 2 + i];
        heads[head + i] = a * std::cos(angle) - b * std::sin(angle);
        heads[head + dim / 2 + i] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }

  void add_attention(const std::string& prefix, std::vector<std::vector<double>>& x) {
    const auto dim = static_cast<size_t>(config_.head_dim);
    const auto group = static_cast<size_t>(config_.n_heads / config_.n_kv_heads);
    std::vector<std::vector<double>> q;
    std::vector<std::vector<double>> k;
    std::vector<std::vector<double>> v;
    for (size_t t = 0; t < x.size(); ++t) {
      const auto n = normed(prefix + "input_layernorm.weight", x[t]);
      q.push_back(product(prefix + "self_attn.q_proj", n, config_.qkv_bias));
      k.push_back(product(prefix + "self_attn.k_proj", n, config_.qkv_bias));
      v.push_back(product(prefix + "self_attn.v_proj", n, config_.qkv_bias));
      if (config_.qk_norm) {
        norm_heads(prefix + "self_attn.q_norm.weight", q.back());
        norm_heads(prefix + "self_attn.k_norm.weight", k.back());
      }
      rotate(q.back(), t);
      rotate(k.back(), t);
    }
    for (size_t t = 0; t < x.size(); ++t) {
      std::vector<double> mixed(q[t].size(), 0.0);
      for (size_t head = 0; head < static_cast<size_t>(config_.n_heads); ++head) {
        const size_t at = head * dim;
        const size_t kv = head / group * dim;
        std::vector<double> weight(t + 1, 0.0);
        double sum = 0;
        for (size_t s = 0; s <= t; ++s) {
          double score = 0;
          for (size_t i = 0; i < dim; ++i) score += q[t][at + i] * k[s][kv + i];
          sum += weight[s] = std::exp(score / std::sqrt(static_cast<double>(dim)));
        }
        for (size_t s = 0; s <= t; ++s) {
          for (size_t i = 0; i < dim; ++i) mixed[at + i] += weight[s] / sum * v[s][kv + i];
        }
      }
      const auto out = product(prefix + "self_attn.o_proj", mixed, config_.out_bias);
      for (size_t i = 0; i < out.size(); ++i) x[t][i] += out[i];
    }
  }

  void add_feed_forward(const std::string& prefix, std::vector<double>& x) {
    const auto n = normed(prefix + "post_attention_layernorm.weight", x);
    auto gate = product(prefix + "mlp.gate_proj", n);
    const auto up = product(prefix + "mlp.up_proj", n);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1.0 + std::exp(-gate[i]));
    const auto out = product(prefix + "mlp.down_proj", gate);
    for (size_t i = 0; i < out.size(); ++i) x[i] += out[i];
  }

  const ModelWeights& weights_;
  const ModelConfig& config_;
};

TEST(Decoder, AgreesWithTheSlowNetwork) {
  for (const auto& [name, config] : family_shapes()) {
    const ModelWeights weights = lively_weights(config, 4);
    Decoder decoder(config, at::kCPU, at::kDouble);
    decoder.load(weights);
    const at::Tensor tokens = random_tokens(config, 1, 12, 1);
    const at::Tensor logits = decoder.logits(decoder.hidden(tokens, counted_positions(12)));
    SlowDecoder slow(weights);
    std::vector<int64_t> prefix;
    for (int64_t t = 0; t < 12; ++t) {
      prefix.push_back(tokens[0][t].item<int64_t>());
      const std::vector<double> expected = slow.last_logits(prefix);
      for (int64_t word = 0; word < config.vocab_size; ++word) {
        // The rotary table is fp32 as in transformers, hence not 1e-12.
        ASSERT_NEAR(logits[0][t][word].item<double>(), expected[static_cast<size_t>(word)], 1e-5)
            << name << " " << t << " " << word;
      }
    }
  }
}

// d(loss)/d(parameter) by central differences, for a few elements of every tensor.
TEST(Decoder, GradientsAgreeWithFiniteDifferences) {
  for (const auto& [name, config] : family_shapes()) {
    Decoder decoder = make_decoder(config, 5, at::kDouble);
    const at::Tensor tokens = random_tokens(config, 2, 7, 2);
    const at::Tensor targets = random_tokens(config, 2, 7, 3).flatten();
    const auto loss = [&] {
      return at::cross_entropy_loss(decoder.logits(decoder.hidden(tokens, counted_positions(7))).flatten(0, 1),
                                    targets);
    };
    loss().backward();
    const c10::NoGradGuard no_grad;
    RandomStream random(9, RngPurpose::kTests, 4);
    for (const at::Tensor& parameter : decoder.parameters()) {
      const at::Tensor flat = parameter.view(-1);
      for (int sample = 0; sample < 6; ++sample) {
        const auto at = static_cast<int64_t>(random.below(static_cast<uint64_t>(flat.numel())));
        const double value = flat[at].item<double>();
        const double step = 1e-5;
        flat[at].fill_(value + step);
        const double above = loss().item<double>();
        flat[at].fill_(value - step);
        const double below = loss().item<double>();
        flat[at].fill_(value);
        const double expected = (above - below) / (2 * step);
        EXPECT_NEAR(parameter.grad().view(-1)[at].item<double>(), expected, 1e-8 + 1e-6 * std::abs(expected)) << name;
      }
    }
  }
}

TEST(Decoder, GradientsInFloatAgreeWithDouble) {
  for (const auto& [name, config] : family_shapes()) {
    const Decoder single = make_decoder(config, 6);
    const Decoder exact = make_decoder(config, 6, at::kDouble);
    const at::Tensor tokens = random_tokens(config, 3, 20, 2);
    for (const Decoder* decoder : {&single, &exact}) {
      const at::Tensor logits = decoder->logits(decoder->hidden(tokens, counted_positions(20)));
      at::cross_entropy_loss(logits.flatten(0, 1), tokens.flatten()).backward();
    }
    for (size_t i = 0; i < single.parameters().size(); ++i) {
      const at::Tensor expected = exact.parameters()[i].grad();
      EXPECT_LT(largest(single.parameters()[i].grad() - expected), 1e-5 * (1.0 + largest(expected)))
          << name << " " << i;
    }
  }
}

// A scaling changes the angles and nothing else; what the angles are is rope_test.cpp's and the oracle's matter.
TEST(Decoder, TurnsByTheScaledAngles) {
  const at::Tensor tokens = random_tokens(small_model_config(), 1, 12, 1);
  const at::Tensor plain = make_decoder(small_model_config(), 4).hidden(tokens, counted_positions(12));
  for (const auto& [name, scaling] : rope_scalings()) {
    ModelConfig config = small_model_config();
    config.rope_scaling = scaling;
    const Decoder decoder = make_decoder(config, 4);
    EXPECT_GT(largest(decoder.hidden(tokens, counted_positions(12)) - plain), 1e-3) << name;
  }
  // Linear scaling by 3 takes position 3·t to t.
  ModelConfig config = small_model_config();
  config.rope_scaling = {.kind = RopeScaling::Kind::kLinear, .factor = 3.0};
  EXPECT_LT(largest(plain - make_decoder(config, 4).hidden(tokens, counted_positions(12) * 3)), 1e-4);
}

TEST(Decoder, CausalFlagIsTheTriangularMask) {
  const ModelConfig config = small_model_config();
  const Decoder decoder = make_decoder(config, 7);
  const at::Tensor tokens = random_tokens(config, 3, 11, 4);
  const at::Tensor triangle = at::ones({11, 11}, at::kBool).tril().view({1, 1, 11, 11});
  const at::Tensor flag = decoder.hidden(tokens, counted_positions(11));
  EXPECT_LT(largest(flag - decoder.hidden(tokens, counted_positions(11), triangle)), 1e-5);
  EXPECT_LT(largest(flag - decoder.hidden(tokens, counted_positions(11), triangle.expand({3, 1, 11, 11}))), 1e-5);
  // A later token changes nothing before it.
  at::Tensor changed = tokens.clone();
  changed.select(1, 8).add_(1).remainder_(config.vocab_size);
  const at::Tensor other = decoder.hidden(changed, counted_positions(11));
  EXPECT_LT(largest((flag - other).narrow(1, 0, 8)), 1e-6);
  EXPECT_GT(largest((flag - other).narrow(1, 8, 3)), 1e-2);
}

// Two branches that share a prefix, packed into one row, are the same as two rows: what tree packing rests on.
TEST(Decoder, PackedBranchesAgreeWithSeparateRows) {
  const ModelConfig config = small_model_config();
  const Decoder decoder = make_decoder(config, 8);
  const at::Tensor packed = random_tokens(config, 1, 10, 5);  // prefix 0–3, branch 4–6, branch 7–9
  const at::Tensor positions = at::tensor({0, 1, 2, 3, 4, 5, 6, 4, 5, 6}, at::kLong).unsqueeze(0);
  at::Tensor mask = at::ones({10, 10}, at::kBool).tril();
  mask.narrow(0, 7, 3).narrow(1, 4, 3).fill_(false);
  const at::Tensor together = decoder.hidden(packed, positions, mask.view({1, 1, 10, 10}));
  const at::Tensor first = decoder.hidden(packed.narrow(1, 0, 7), counted_positions(7));
  const at::Tensor second =
      decoder.hidden(at::cat({packed.narrow(1, 0, 4), packed.narrow(1, 7, 3)}, 1), counted_positions(7));
  EXPECT_LT(largest(together.narrow(1, 0, 7) - first), 1e-5);
  EXPECT_LT(largest(together.narrow(1, 7, 3) - second.narrow(1, 4, 3)), 1e-5);
}

TEST(Decoder, OnlyDifferencesOfPositionsMatter) {
  const ModelConfig config = small_model_config();
  const Decoder decoder = make_decoder(config, 9, at::kDouble);
  const at::Tensor tokens = random_tokens(config, 2, 6, 6);
  const at::Tensor start = decoder.hidden(tokens, counted_positions(6));
  EXPECT_LT(largest(start - decoder.hidden(tokens, counted_positions(6) + 30)), 1e-4);
  EXPECT_GT(largest(start - decoder.hidden(tokens, counted_positions(6) * 3)), 1e-2);
  // Positions of each row are its own.
  const at::Tensor mixed = at::cat({counted_positions(6), counted_positions(6) * 3});
  const at::Tensor both = decoder.hidden(tokens, mixed);
  EXPECT_LT(largest(both[0] - start[0]), 1e-10);
  EXPECT_LT(largest(both[1] - decoder.hidden(tokens, counted_positions(6) * 3)[1]), 1e-10);
  EXPECT_ANY_THROW(decoder.hidden(tokens, counted_positions(6) + 35));  // max_positions is 40
}

TEST(Decoder, LoadsInPlaceAndStores) {
  for (const auto& [name, config] : family_shapes()) {
    Decoder decoder(config, at::kCPU);
    const at::Tensor before = decoder.parameters()[3];
    const ModelWeights weights = lively_weights(config, 10);
    decoder.load(weights);
    EXPECT_TRUE(before.is_same(decoder.parameters()[3]));
    EXPECT_EQ(flatten(decoder.store()), flatten(weights)) << name;
    const std::vector<TensorShape> expected = expected_tensors(config);
    ASSERT_EQ(decoder.parameters().size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      const at::Tensor& parameter = decoder.parameters()[i];
      EXPECT_TRUE(parameter.is_leaf() && parameter.requires_grad()) << expected[i].name;
      EXPECT_EQ(parameter.sizes().vec(), expected[i].shape) << expected[i].name;
    }
    ModelConfig other = config;
    other.intermediate_size = 25;
    EXPECT_THROW(decoder.load(fresh_weights(other, 1)), Error);
  }
}

// From a folder's mapped files, without a ModelWeights between.
TEST(Decoder, LoadsFromAFolder) {
  const TemporaryFolder folder;
  const ModelConfig config = family_shapes()[3].second;
  const ModelWeights weights = lively_weights(config, 10);
  save_model(folder.path(), weights, "");
  Decoder decoder(config, at::kCPU);
  decoder.load(*open_model(folder.path()));
  EXPECT_EQ(flatten(decoder.store()), flatten(weights));
}

}  // namespace
}  // namespace deepsearch
