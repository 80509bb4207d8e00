#include "model/generation_config.h"

#include <nlohmann/json.hpp>

#include "model_fixtures.h"

namespace deepsearch {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

GenerationDefaults read(const std::string& text) {
  return generation_defaults_from_json(text, "some/generation_config.json");
}

TEST(GenerationConfig, ReadsWhatPublicModelsWrite) {
  const GenerationDefaults defaults = read(R"({"bos_token_id": 151643, "pad_token_id": 151643, "do_sample": true,
    "eos_token_id": [151645, 151643], "repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8, "top_k": 20})");
  EXPECT_EQ(defaults.eos_tokens, (std::vector<Token>{151645, 151643}));
  EXPECT_EQ(defaults.bos_token, 151643);
  EXPECT_EQ(defaults.pad_token, 151643);
  EXPECT_TRUE(defaults.do_sample);
  EXPECT_EQ(defaults.temperature, 0.7);
  EXPECT_EQ(defaults.top_p, 0.8);
  EXPECT_EQ(defaults.top_k, 20);
  EXPECT_EQ(read(R"({"eos_token_id": 2})").eos_tokens, (std::vector<Token>{2}));
}

TEST(GenerationConfig, WhatIsAbsentStaysEmpty) {
  EXPECT_EQ(read("{}"), GenerationDefaults{});
  EXPECT_EQ(read(R"({"eos_token_id": null, "top_k": 0, "temperature": null})"), GenerationDefaults{});
  const TemporaryFolder folder;
  EXPECT_EQ(read_generation_config(folder.path()), GenerationDefaults{});
  EXPECT_FALSE(read(R"({"do_sample": true, "temperature": 0.0})").do_sample);
}

TEST(GenerationConfig, NamesWhatIsWrong) {
  for (const auto& [text, named] :
       std::vector<std::pair<std::string, std::string>>{{R"({"eos_token_id": "a"})", "eos_token_id"},
                                                        {R"({"eos_token_id": [1, -2]})", "eos_token_id"},
                                                        {R"({"eos_token_id": [[1]]})", "eos_token_id"},
                                                        {R"({"eos_token_id": 4294967296})", "eos_token_id"},
                                                        {R"({"temperature": -1})", "temperature"},
                                                        {R"({"temperature": "hot"})", "temperature"},
                                                        {R"({"top_p": 1.5})", "top_p"},
                                                        {R"({"top_p": 0})", "top_p"},
                                                        {R"({"top_k": -1})", "top_k"},
                                                        {R"({"top_k": 1.5})", "top_k"},
                                                        {R"({"do_sample": 1})", "do_sample"},
                                                        {"[]", "object"},
                                                        {"{", "not JSON"}}) {
    EXPECT_THAT(bad_input_text([&] { read(text); }), AllOf(HasSubstr("some/generation_config.json"), HasSubstr(named)));
  }
}

TEST(GenerationConfig, IsSavedWithTheModelsTokens) {
  const GenerationDefaults defaults = read(generation_config_to_json(small_model_config()));
  EXPECT_EQ(defaults.eos_tokens, (std::vector<Token>{2, 5}));
  EXPECT_EQ(defaults.bos_token, 1);
  EXPECT_EQ(defaults.pad_token, 0);
  EXPECT_FALSE(defaults.do_sample);
}

}  // namespace
}  // namespace deepsearch
