#include "model/weights.h"

#include <cmath>

#include <nlohmann/json.hpp>

#include "model/safetensors.h"
#include "model_fixtures.h"

namespace deepsearch {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Weights, ParameterCountIsTheSumByHand) {
  ModelConfig config;  // the trial runs' shape: width 64, 3 layers, 4 heads, SwiGLU 160, untied
  config.vocab_size = 58;
  const int64_t layer = 4 * 64 * 64 + 3 * 64 * 160 + 2 * 64;
  EXPECT_EQ(parameter_count(config), 2 * 58 * 64 + 3 * layer + 64);
  config.tie_embeddings = true;
  EXPECT_EQ(parameter_count(config), 58 * 64 + 3 * layer + 64);
  config.n_kv_heads = 2;
  EXPECT_EQ(parameter_count(config), 58 * 64 + 3 * (layer - 2 * 32 * 64) + 64);
}

TEST(Weights, FreshOnesHaveTheStatedMomentsAndRepeat) {
  ModelConfig config;
  config.vocab_size = 58;
  const ModelWeights weights = fresh_weights(config, 7);
  const auto deviation = [&](const std::string& name) {
    const std::vector<float>& values = weights.at(name).values;
    double sum = 0;
    double squares = 0;
    for (const float value : values) {
      sum += value;
      squares += static_cast<double>(value) * value;
    }
    const auto n = static_cast<double>(values.size());
    EXPECT_LT(std::abs(sum / n), 0.02 * 5 / std::sqrt(n)) << name;
    return std::sqrt(squares / n);
  };
  EXPECT_NEAR(deviation("model.embed_tokens.weight"), 0.02, 0.001);
  EXPECT_NEAR(deviation("model.layers.1.self_attn.q_proj.weight"), 0.02, 0.001);
  EXPECT_NEAR(deviation("model.layers.1.self_attn.o_proj.weight"), 0.02 / std::sqrt(6.0), 0.0005);
  EXPECT_NEAR(deviation("model.layers.2.mlp.down_proj.weight"), 0.02 / std::sqrt(6.0), 0.0005);
  EXPECT_THAT(weights.at("model.norm.weight").values, ::testing::Each(1.0F));
  EXPECT_EQ(flatten(weights), flatten(fresh_weights(config, 7)));
  EXPECT_NE(flatten(weights), flatten(fresh_weights(config, 8)));
  EXPECT_NE(weights.at("model.layers.0.mlp.up_proj.weight").values,
            weights.at("model.layers.1.mlp.up_proj.weight").values);
}

TEST(Weights, TensorsOfEachFamilyComeInOneOrder) {
  const auto names_of_layer = [](const ModelConfig& config) {
    std::vector<std::string> names;
    const std::string prefix = "model.layers.1.";
    for (const TensorShape& tensor : expected_tensors(config)) {
      if (tensor.name.starts_with(prefix)) names.push_back(tensor.name.substr(prefix.size()));
    }
    return names;
  };
  ModelConfig config = small_model_config();
  set_family(config, ModelFamily::kQwen2);
  EXPECT_THAT(
      names_of_layer(config),
      ::testing::ElementsAre("input_layernorm.weight", "self_attn.q_proj.weight", "self_attn.q_proj.bias",
                             "self_attn.k_proj.weight", "self_attn.k_proj.bias", "self_attn.v_proj.weight",
                             "self_attn.v_proj.bias", "self_attn.o_proj.weight", "post_attention_layernorm.weight",
                             "mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight"));
  set_family(config, ModelFamily::kQwen3, true);
  EXPECT_THAT(
      names_of_layer(config),
      ::testing::ElementsAre("input_layernorm.weight", "self_attn.q_proj.weight", "self_attn.q_proj.bias",
                             "self_attn.k_proj.weight", "self_attn.k_proj.bias", "self_attn.v_proj.weight",
                             "self_attn.v_proj.bias", "self_attn.o_proj.weight", "self_attn.o_proj.bias",
                             "self_attn.q_norm.weight", "self_attn.k_norm.weight", "post_attention_layernorm.weight",
                             "mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight"));
  for (const auto& [name, shape] : family_shapes()) {
    int64_t values = 0;
    for (const HostTensor& tensor : fresh_weights(shape, 1).tensors)
      values += static_cast<int64_t>(tensor.values.size());
    EXPECT_EQ(parameter_count(shape), values) << name;
    EXPECT_EQ(weight_bytes(shape, DType::kF32), 4 * values);
    EXPECT_EQ(weight_bytes(shape, DType::kBF16), 2 * values);
  }
}

TEST(Weights, FreshBiasesAreRandomAndHeadNormsOnes) {
  ModelConfig config;
  config.vocab_size = 58;
  set_family(config, ModelFamily::kQwen3, true);
  const ModelWeights weights = fresh_weights(config, 7);
  EXPECT_THAT(weights.at("model.layers.1.self_attn.k_norm.weight").values, ::testing::Each(1.0F));
  double squares = 0;
  for (const float value : weights.at("model.layers.1.self_attn.o_proj.bias").values) squares += value * value;
  EXPECT_NEAR(std::sqrt(squares / 64), 0.02, 0.006);
}

TEST(Weights, AModelLargerThanMemoryIsRefusedAtOnce) {
  ModelConfig config = small_model_config();
  config.vocab_size = 1 << 24;
  config.hidden_size = 1 << 17;  // 18 TB with its head
  EXPECT_THAT(bad_input_text([&] { fresh_weights(config, 1); }),
              AllOf(HasSubstr("GB of memory"), HasSubstr("are free")));
}

TEST(Weights, FlattenedAreAllValuesInOrder) {
  ModelWeights back = lively_weights(small_model_config(), 1);
  const std::vector<float> flat = flatten(back);
  EXPECT_EQ(static_cast<int64_t>(flat.size()), parameter_count(back.config));
  auto next = flat.begin();
  for (const TensorShape& expected : expected_tensors(back.config)) {
    const std::vector<float>& values = back.at(expected.name).values;
    ASSERT_TRUE(std::equal(values.begin(), values.end(), next)) << expected.name;
    next += std::ssize(values);
  }
  EXPECT_THROW(static_cast<void>(back.at("nothing")), Error);
  back.tensors[3].values.pop_back();
  EXPECT_THROW(flatten(back), Error);
}

TEST(ModelFolder, SavesAndLoadsTheSameBits) {
  for (const bool tied : {false, true}) {
    const TemporaryFolder folder;
    ModelConfig config = small_model_config();
    config.tie_embeddings = tied;
    const ModelWeights weights = lively_weights(config, 2);
    save_model(folder / "deep/model", weights, "");
    const ModelWeights back = load_model(folder / "deep/model");
    EXPECT_EQ(back.config, config);
    EXPECT_EQ(flatten(back), flatten(weights));
    EXPECT_FALSE(std::filesystem::exists(folder / "deep/model/tokenizer.json"));
    // Nothing temporary is left.
    for (const auto& entry : std::filesystem::directory_iterator(folder / "deep/model")) {
      EXPECT_THAT(entry.path().extension().string(), ::testing::AnyOf(".json", ".safetensors"));
    }
  }
}

TEST(ModelFolder, SavesTheTokenizerWithItsSpecialTokens) {
  const TemporaryFolder folder;
  const std::string tokenizer = R"({"model": {"type": "WordLevel", "vocab": {"<pad>": 0, ">": 1, ".": 2}}})";
  save_model(folder.path(), lively_weights(small_model_config(), 2), tokenizer);
  EXPECT_EQ(slurp(folder / "tokenizer.json"), tokenizer);
  const auto config = nlohmann::json::parse(slurp(folder / "tokenizer_config.json"));
  EXPECT_EQ(config.at("tokenizer_class"), "PreTrainedTokenizerFast");
  EXPECT_EQ(config.at("pad_token"), "<pad>");
  EXPECT_EQ(config.at("bos_token"), ">");
  EXPECT_EQ(config.at("eos_token"), ".");
  EXPECT_EQ(config.at("model_max_length"), 40);
  EXPECT_THAT(bad_input_text([&] { save_model(folder.path(), lively_weights(small_model_config(), 2), "{"); }),
              HasSubstr("tokenizer.json"));
}

TEST(ModelFolder, RefusesWeightsThatAreNotTheShape) {
  const TemporaryFolder folder;
  ModelWeights weights = lively_weights(small_model_config(), 2);
  std::swap(weights.tensors[1], weights.tensors[2]);
  EXPECT_THROW(save_model(folder.path(), weights, ""), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

class BrokenFolder : public ::testing::Test {
 protected:
  void SetUp() override { save_model(folder.path(), weights, ""); }
  std::string error() const {
    return bad_input_text([&] { load_model(folder.path()); });
  }
  HostTensor& tensor(const std::string& name) {
    for (HostTensor& candidate : weights.tensors) {
      if (candidate.name == name) return candidate;
    }
    throw Error("no " + name);
  }
  TemporaryFolder folder;
  ModelWeights weights = lively_weights(small_model_config(), 3);
};

TEST_F(BrokenFolder, NamesMissingFiles) {
  std::filesystem::remove(folder / "model.safetensors");
  EXPECT_THAT(error(), HasSubstr("model.safetensors"));
  spill(folder / "model.safetensors.index.json", "{}");
  EXPECT_THAT(error(), HasSubstr("weight_map"));
  std::filesystem::remove(folder / "config.json");
  EXPECT_THAT(error(), HasSubstr("config.json"));
  EXPECT_THAT(bad_input_text([&] { load_model(folder / "absent"); }), HasSubstr("absent"));
}

TEST_F(BrokenFolder, NamesAMissingTensor) {
  weights.tensors.erase(weights.tensors.begin() + 4);
  write_safetensors(folder / "model.safetensors", weights.tensors);
  EXPECT_THAT(error(), AllOf(HasSubstr("model.safetensors"), HasSubstr("model.layers.0.self_attn.v_proj.weight"),
                             HasSubstr("missing")));
}

TEST_F(BrokenFolder, NamesATensorTooMany) {
  weights.tensors.push_back({"model.layers.0.self_attn.q_proj.bias", {2}, {0.0F, 1.0F}});
  write_safetensors(folder / "model.safetensors", weights.tensors);
  EXPECT_THAT(error(), AllOf(HasSubstr("q_proj.bias"), HasSubstr("does not belong")));
}

TEST_F(BrokenFolder, NamesAWrongShape) {
  tensor("model.layers.1.mlp.up_proj.weight").shape = {16, 24};
  write_safetensors(folder / "model.safetensors", weights.tensors);
  EXPECT_THAT(error(),
              AllOf(HasSubstr("model.layers.1.mlp.up_proj.weight"), HasSubstr("[16, 24]"), HasSubstr("[24, 16]")));
}

TEST_F(BrokenFolder, NamesAWrongDtype) {
  std::string bytes = slurp(folder / "model.safetensors");
  bytes.replace(bytes.find("F32"), 3, "I32");
  spill(folder / "model.safetensors", bytes);
  EXPECT_THAT(error(), AllOf(HasSubstr("model.embed_tokens.weight"), HasSubstr("I32"), HasSubstr("F32")));
}

TEST_F(BrokenFolder, NamesATruncatedFile) {
  const std::string bytes = slurp(folder / "model.safetensors");
  for (const size_t length : {size_t{0}, size_t{5}, size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    spill(folder / "model.safetensors", bytes.substr(0, length));
    EXPECT_THAT(error(), HasSubstr("model.safetensors")) << length;
  }
  spill(folder / "model.safetensors", bytes + "x");
  EXPECT_THAT(error(), HasSubstr("model.safetensors"));
}

}  // namespace
}  // namespace deepsearch
