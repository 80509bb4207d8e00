#include "model/model_config.h"

#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "model_fixtures.h"

namespace deepsearch {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ModelConfig, SurvivesJson) {
  ModelConfig config = small_model_config();
  EXPECT_EQ(model_config_from_json(model_config_to_json(config), "config.json"), config);
  config.tie_embeddings = true;
  config.bos_token = -1;
  config.eos_tokens = {};
  config.rms_norm_eps = 1e-5;
  config.pad_token = 3;
  EXPECT_EQ(model_config_from_json(model_config_to_json(config), "config.json"), config);
}

TEST(ModelConfig, EveryFamilyAndScalingSurvivesJson) {
  for (auto [name, config] : family_shapes()) {
    EXPECT_EQ(model_config_from_json(model_config_to_json(config), "config.json"), config) << name;
    for (const auto& [scaling_name, scaling] : rope_scalings()) {
      config.rope_scaling = scaling;
      EXPECT_EQ(model_config_from_json(model_config_to_json(config), "config.json"), config) << name << scaling_name;
    }
  }
}

TEST(ModelConfig, WritesBothSpellingsOfTheta) {
  const json document = json::parse(model_config_to_json(small_model_config()));
  EXPECT_EQ(document.at("rope_theta"), 500.0);
  EXPECT_EQ(document.at("rope_parameters").at("rope_theta"), 500.0);
  EXPECT_EQ(document.at("rope_parameters").at("rope_type"), "default");
  EXPECT_EQ(document.at("eos_token_id"), json::array({2, 5}));
}

class ModelConfigJson : public ::testing::Test {
 protected:
  ModelConfig read() const { return model_config_from_json(document.dump(), "some/config.json"); }
  std::string error() const {
    return bad_input_text([&] { read(); });
  }
  json document = json::parse(model_config_to_json(small_model_config()));
};

TEST_F(ModelConfigJson, TakesLlamasDefaultsForAbsentKeys) {
  for (const char* key : {"num_key_value_heads", "head_dim", "rope_theta", "rope_parameters", "tie_word_embeddings",
                          "rms_norm_eps", "bos_token_id", "pad_token_id"}) {
    document.erase(key);
  }
  ModelConfig expected = small_model_config();
  expected.n_kv_heads = 4;
  expected.rope_theta = 10000.0;
  expected.rms_norm_eps = 1e-6;
  expected.bos_token = -1;
  expected.pad_token = 2;  // the first end-of-sequence token
  EXPECT_EQ(read(), expected);
}

TEST_F(ModelConfigJson, NamesEveryMissingKey) {
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                          "max_position_embeddings", "architectures"}) {
    const json whole = document;
    document.erase(key);
    EXPECT_THAT(error(), AllOf(HasSubstr("some/config.json"), HasSubstr(key), HasSubstr("missing")));
    document = whole;
  }
}

TEST_F(ModelConfigJson, NamesUnsupportedFeatures) {
  const std::vector<std::pair<std::string, json>> cases = {
      {"architectures", {"MistralForCausalLM"}},
      {"architectures", {"LlamaForCausalLM", "Qwen2ForCausalLM"}},
      {"model_type", "qwen2"},
      {"hidden_act", "gelu"},
      {"mlp_bias", true},
      {"attention_dropout", 0.1},
      {"sliding_window", 4096},
      {"use_sliding_window", true},
      {"layer_types", {"full_attention", "sliding_attention"}},
      {"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 8.0}}},
      {"rope_scaling", {{"type", "longrope"}, {"factor", 8.0}}},
      {"rope_scaling", {{"type", "default"}, {"mrope_section", {1, 1}}}},
      {"rope_scaling", {{"type", "linear"}, {"factor", 2.0}, {"beta_fast", 3.0}}},
      {"rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}},
      {"rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}},
      {"partial_rotary_factor", 0.25},
      {"use_mrope", true},
      {"num_local_experts", 8},
      {"quantization_config", {{"bits", 4}}},
  };
  for (const auto& [key, value] : cases) {
    const json whole = document;
    document[key] = value;
    EXPECT_THAT(error(), AllOf(HasSubstr("some/config.json"), HasSubstr(key), HasSubstr("supported")));
    document = whole;
  }
}

TEST_F(ModelConfigJson, ListsTheSupportedArchitectures) {
  document["architectures"] = {"MixtralForCausalLM"};
  EXPECT_THAT(error(), AllOf(HasSubstr("MixtralForCausalLM"), HasSubstr("LlamaForCausalLM"),
                             HasSubstr("Qwen2ForCausalLM"), HasSubstr("Qwen3ForCausalLM")));
}

TEST_F(ModelConfigJson, ReadsFamiliesAsTheirMakersWriteThem) {
  // The keys of Qwen2.5-1.5B-Instruct's config.json.
  document = json::parse(R"({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
    "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 1536, "initializer_range": 0.02,
    "intermediate_size": 8960, "max_position_embeddings": 32768, "max_window_layers": 21, "model_type": "qwen2",
    "num_attention_heads": 12, "num_hidden_layers": 28, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
    "transformers_version": "4.43.1", "use_cache": true, "use_sliding_window": false, "vocab_size": 151936})");
  ModelConfig config = read();
  EXPECT_EQ(config.family, ModelFamily::kQwen2);
  EXPECT_TRUE(config.qkv_bias && !config.out_bias && !config.qk_norm && config.tie_embeddings);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.rope_theta, 1e6);
  EXPECT_EQ(config.pad_token, 151645);
  EXPECT_NEAR(static_cast<double>(parameter_count(config)), 1.54e9, 0.01e9);
  document["use_sliding_window"] = true;
  EXPECT_THAT(error(), HasSubstr("sliding windows are not supported"));
  document.erase("use_sliding_window");  // its default is false
  document.erase("num_key_value_heads");
  EXPECT_THAT(error(), HasSubstr("num_key_value_heads"));  // its default would be 32, whatever the number of heads

  // Qwen3-0.6B, with the scaling its makers recommend for long texts.
  document = json::parse(R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024,
    "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
    "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
    "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
    "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true, "use_sliding_window": false,
    "vocab_size": 151936})");
  config = read();
  EXPECT_TRUE(config.qk_norm && !config.qkv_bias && !config.out_bias);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.rope_scaling,
            (RopeScaling{.kind = RopeScaling::Kind::kYarn, .factor = 4.0, .original_max_positions = 32768}));
  EXPECT_NEAR(static_cast<double>(parameter_count(config)), 0.596e9, 0.001e9);
  document.erase("head_dim");
  EXPECT_EQ(read().head_dim, 128);  // Qwen3Config's default, not hidden_size / heads

  // Llama 3.2 1B.
  document = json::parse(R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu",
    "hidden_size": 2048, "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
    "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8,
    "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0,
    "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
    "tie_word_embeddings": true, "vocab_size": 128256})");
  config = read();
  EXPECT_EQ(config.eos_tokens, (std::vector<Token>{128001, 128008, 128009}));
  EXPECT_EQ(config.rope_scaling, (RopeScaling{.kind = RopeScaling::Kind::kLlama3,
                                              .factor = 32.0,
                                              .original_max_positions = 8192,
                                              .low_freq_factor = 1.0,
                                              .high_freq_factor = 4.0}));
  EXPECT_NEAR(static_cast<double>(parameter_count(config)), 1.236e9, 0.001e9);
  document["pad_token_id"] = -1;  // "none" in older files
  EXPECT_EQ(read().pad_token, 128001);
}

TEST_F(ModelConfigJson, ReadsScalingsDefaultsAsTransformersDoes) {
  document["rope_parameters"] = {{"rope_type", "yarn"}, {"factor", 4.0}, {"rope_theta", 2000.0}};
  ModelConfig config = read();
  EXPECT_EQ(config.rope_scaling.original_max_positions, 40);  // all positions
  EXPECT_EQ(config.rope_scaling.beta_fast, 32.0);
  EXPECT_EQ(config.rope_theta, 2000.0);
  document["original_max_position_embeddings"] = 20;
  EXPECT_EQ(read().rope_scaling.original_max_positions, 20);
  document["rope_parameters"]["mscale"] = 1.0;
  document["rope_parameters"]["mscale_all_dim"] = 0.5;
  EXPECT_NEAR(read().rope_scaling.attention_factor, (0.1 * std::log(4.0) + 1) / (0.05 * std::log(4.0) + 1), 1e-12);
  document["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};  // wins over rope_parameters
  EXPECT_EQ(read().rope_scaling, (RopeScaling{.kind = RopeScaling::Kind::kLinear, .factor = 2.0}));
  EXPECT_EQ(read().rope_theta, 500.0);
}

TEST_F(ModelConfigJson, RefusesScalingsThatCannotBeComputed) {
  const std::vector<std::pair<json, std::string>> cases = {
      {{{"type", "linear"}}, "factor"},
      {{{"type", "linear"}, {"factor", 0.5}}, "factor"},
      {{{"type", "linear"}, {"factor", "2"}}, "factor"},
      {{{"type", "llama3"}, {"factor", 2.0}, {"low_freq_factor", 4.0}, {"high_freq_factor", 4.0}}, "high_freq_factor"},
      {{{"type", "llama3"}, {"factor", 2.0}, {"high_freq_factor", 4.0}}, "low_freq_factor"},
      {{{"type", "yarn"}, {"factor", 2.0}, {"original_max_position_embeddings", 0}},
       "original_max_position_embeddings"},
      {{{"type", "yarn"}, {"factor", 2.0}, {"beta_fast", 0.5}}, "beta_fast"},
      {{{"type", "yarn"}, {"factor", 2.0}, {"attention_factor", 0.0}}, "attention_factor"},
      {{{"type", "yarn"}, {"factor", 2.0}, {"rope_theta", 1.0}}, "rope_theta"},
      {json::array({1}), "rope_scaling"},
      {{{"type", 5}}, "type"},
  };
  for (const auto& [scaling, named] : cases) {
    document["rope_scaling"] = scaling;
    EXPECT_THAT(error(), AllOf(HasSubstr("some/config.json"), HasSubstr(named))) << scaling.dump();
  }
}

TEST_F(ModelConfigJson, HostileTextEndsInOneShortLine) {
  for (const std::string& text : {std::string(1'000'000, '['), "{\"hidden_act\": " + std::string(500'000, '['),
                                  "{\"hidden_act\": \"" + std::string(500'000, 'x') + "\"}",
                                  std::string("{\"a\": 1, \"a\": 2}"), std::string("{\"\xFF\": 1}")}) {
    const std::string message = bad_input_text([&] { model_config_from_json(text, "some/config.json"); });
    EXPECT_THAT(message, HasSubstr("some/config.json"));
    EXPECT_LT(message.size(), 400U);
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST_F(ModelConfigJson, AcceptsFeaturesThatAreOff) {
  document["rope_scaling"] = nullptr;
  document["sliding_window"] = 4096;
  document["use_sliding_window"] = false;
  document["quantization_config"] = nullptr;
  EXPECT_EQ(read(), small_model_config());
}

TEST_F(ModelConfigJson, RopeParametersWinOverRopeTheta) {
  document["rope_parameters"]["rope_theta"] = 123.0;
  EXPECT_EQ(read().rope_theta, 123.0);
}

TEST_F(ModelConfigJson, NamesWrongTypes) {
  document["hidden_size"] = "64";
  EXPECT_THAT(error(), AllOf(HasSubstr("hidden_size"), HasSubstr("whole number"), HasSubstr("\"64\"")));
  document["hidden_size"] = 16.5;
  EXPECT_THAT(error(), HasSubstr("hidden_size"));
  document["hidden_size"] = uint64_t{1} << 63;
  EXPECT_THAT(error(), HasSubstr("hidden_size"));
  document["hidden_size"] = 16;
  document["tie_word_embeddings"] = 1;
  EXPECT_THAT(error(), HasSubstr("tie_word_embeddings"));
  document["tie_word_embeddings"] = false;
  document["eos_token_id"] = -4;
  EXPECT_THAT(error(), HasSubstr("eos_token_id"));
  EXPECT_THAT(bad_input_text([] { model_config_from_json("{\"a\": ", "broken.json"); }), HasSubstr("broken.json"));
  EXPECT_THAT(bad_input_text([] { model_config_from_json("[]", "list.json"); }), HasSubstr("list.json"));
}

TEST(CheckModelConfig, NamesTheField) {
  const auto error_of = [](auto&& change) {
    ModelConfig config = small_model_config();
    change(config);
    return bad_input_text([&] { check_model_config(config); });
  };
  EXPECT_NO_THROW(check_model_config(small_model_config()));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.vocab_size = 0; }), HasSubstr("vocab_size"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.n_kv_heads = 3; }), HasSubstr("n_kv_heads"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.n_kv_heads = 8; }), HasSubstr("n_kv_heads"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.head_dim = 5; }), HasSubstr("head_dim"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.hidden_size = 18; }), HasSubstr("hidden_size"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.n_layers = 1 << 20; }), HasSubstr("n_layers"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.rope_theta = std::numeric_limits<double>::quiet_NaN(); }),
              HasSubstr("rope_theta"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.qk_norm = true; }), HasSubstr("qk_norm"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.family = ModelFamily::kQwen2; }), HasSubstr("qkv_bias"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.rms_norm_eps = -1.0; }), HasSubstr("rms_norm_eps"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.pad_token = 23; }), HasSubstr("pad_token"));
  EXPECT_THAT(error_of([](ModelConfig& c) { c.eos_tokens = {23}; }), HasSubstr("eos_tokens"));
}

// The keys of [model], each documented and with a default inside its range.
class Collector : public ConfigVisitor {
 public:
  void field(const FieldDoc& doc, bool&) override { note(doc); }
  void field(const FieldDoc& doc, int64_t& value) override {
    note(doc);
    EXPECT_GE(static_cast<double>(value), doc.min) << doc.key;
    EXPECT_LE(static_cast<double>(value), doc.max) << doc.key;
  }
  void field(const FieldDoc& doc, double&) override { note(doc); }
  void field(const FieldDoc& doc, std::string&) override { note(doc); }
  void field(const FieldDoc& doc, std::vector<int64_t>&) override { note(doc); }
  void field(const FieldDoc& doc, std::vector<double>&) override { note(doc); }
  void field(const FieldDoc& doc, std::vector<std::string>&) override { note(doc); }
  void table(const TableDoc& doc, const std::function<void(ConfigVisitor&)>&) override {
    ADD_FAILURE() << "unexpected table " << doc.key;
  }
  std::vector<std::string> keys;

 private:
  void note(const FieldDoc& doc) {
    keys.push_back(doc.key);
    EXPECT_FALSE(doc.meaning.empty()) << doc.key;
  }
};

TEST(ModelParams, DescribesEveryKey) {
  ModelParams params;
  Collector collector;
  params.describe(collector);
  EXPECT_THAT(collector.keys,
              ::testing::ElementsAre("path", "family", "hidden_size", "n_layers", "n_heads", "n_kv_heads", "head_dim",
                                     "intermediate_size", "tie_embeddings", "max_positions", "rope_theta"));
}

TEST(ModelParams, MakeAModelOfEachFamily) {
  ModelParams params;
  for (const ModelFamily family : {ModelFamily::kLlama, ModelFamily::kQwen2, ModelFamily::kQwen3}) {
    params.family = family;
    ModelConfig config = fresh_model_config(params);
    config.vocab_size = 30;
    check_model_config(config);
    EXPECT_EQ(config.family, family);
    EXPECT_EQ(config.qkv_bias, family == ModelFamily::kQwen2);
    EXPECT_EQ(config.qk_norm, family == ModelFamily::kQwen3);
    EXPECT_EQ(config.head_dim, 16);
  }
  params.head_dim = 24;
  EXPECT_EQ(fresh_model_config(params).head_dim, 24);
  params.n_heads = 5;
  EXPECT_THAT(bad_input_text([&] { fresh_model_config(params); }), HasSubstr("[model].hidden_size"));
}

}  // namespace
}  // namespace deepsearch
