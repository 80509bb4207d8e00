#include "model/model_config.h"

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
      {"architectures", {"Qwen2ForCausalLM"}},
      {"hidden_act", "gelu"},
      {"attention_bias", true},
      {"mlp_bias", true},
      {"sliding_window", 4096},
      {"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}},
      {"rope_parameters", {{"rope_type", "yarn"}, {"rope_theta", 1e4}}},
      {"quantization_config", {{"bits", 4}}},
  };
  for (const auto& [key, value] : cases) {
    const json whole = document;
    document[key] = value;
    EXPECT_THAT(error(), AllOf(HasSubstr("some/config.json"), HasSubstr(key), HasSubstr("supported")));
    document = whole;
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
  void table(const std::string& key, const std::string&, const std::function<void(ConfigVisitor&)>&) override {
    ADD_FAILURE() << "unexpected table " << key;
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
  EXPECT_THAT(collector.keys, ::testing::ElementsAre("path", "hidden_size", "n_layers", "n_heads", "n_kv_heads",
                                                     "intermediate_size", "tie_embeddings", "max_positions"));
}

}  // namespace
}  // namespace deepsearch
