// The texts of the built-in templates, and how a published one is recognised; tests/oracle/chat_oracle.py runs the
// published ones.
#include "tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/temp_folder.h"

namespace deepsearch {
namespace {

using ::testing::HasSubstr;

const std::vector<ChatMessage> kQuestion = {{"user", "2+2?"}};

std::string published(const std::string& name) {
  return read_file(std::string(DEEPSEARCH_SOURCE_DIR) + "/tests/tokenizer/templates/" + name + ".jinja", 1 << 20);
}

TEST(ChatTemplate, WritesMessages) {
  EXPECT_EQ(apply_chat_template("chatml", kQuestion), "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(apply_chat_template("deepseek-r1", kQuestion),
            "<｜begin▁of▁sentence｜><｜User｜>2+2?<｜Assistant｜><think>\n");
  EXPECT_EQ(apply_chat_template("none", kQuestion), "2+2?");
  EXPECT_THAT(apply_chat_template("qwen2.5-math", kQuestion), HasSubstr("within \\boxed{}.<|im_end|>"));
  EXPECT_THAT(apply_chat_template("qwen3", kQuestion, {.enable_thinking = false}),
              HasSubstr("assistant\n<think>\n\n</think>\n\n"));
  EXPECT_EQ(apply_chat_template("llama3", kQuestion, {.add_generation_prompt = false}),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>");
}

TEST(ChatTemplate, RefusesWhatItDoesNotKnow) {
  EXPECT_THROW(apply_chat_template("vicuna", kQuestion), Error);
  EXPECT_THROW(apply_chat_template("chatml", std::vector<ChatMessage>{}), Error);
  EXPECT_THROW(apply_chat_template("chatml", std::vector<ChatMessage>{{"tool", "x"}}), Error);
  EXPECT_THROW(apply_chat_template("llama3", std::vector<ChatMessage>{{"user", "\xFF"}}), Error);
}

TEST(ChatTemplate, RecognisesThePublishedOnes) {
  for (const std::string& name : chat_template_names()) {
    if (name == "none") continue;
    EXPECT_EQ(recognise_template(published(name)), name);
  }
}

TEST(ChatTemplate, AChangedTemplateIsAnother) {
  const auto changed = [](const std::string& name, const std::string& from, const std::string& to) {
    std::string text = published(name);
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  EXPECT_THROW(recognise_template(changed("chatml", "<|im_end|>", "<|end|>")), Error);
  EXPECT_THROW(recognise_template(changed("chatml", "'<|im_start|>'", "'<|im_start|><|x|>'")), Error);
  EXPECT_THROW(recognise_template(changed("qwen2", "a helpful assistant", "a pirate")), Error);
  EXPECT_THROW(recognise_template(changed("deepseek-r1", "<think>\\n", "")), Error);
  EXPECT_THROW(recognise_template(changed("llama3", "| trim", "")), Error);
  EXPECT_THROW(recognise_template("<|system|>{{ messages }}"), Error);
  EXPECT_THROW(recognise_template(""), Error);
}

TEST(ChatTemplate, IsReadFromAModelsFolder) {
  const TempFolder folder;
  EXPECT_EQ(read_template_text(folder.path()), std::nullopt);
  const auto config = folder.path() / "tokenizer_config.json";
  write_file_atomically(config, R"({"chat_template": null})");
  EXPECT_EQ(read_template_text(folder.path()), std::nullopt);
  write_file_atomically(config, R"({"chat_template": "A"})");
  EXPECT_EQ(read_template_text(folder.path()), "A");
  write_file_atomically(config, R"({"chat_template": [{"name": "x", "template": "B"},
                                                      {"name": "default", "template": "C"}]})");
  EXPECT_EQ(read_template_text(folder.path()), "C");
  write_file_atomically(config, R"({"chat_template": 3})");
  EXPECT_THROW(read_template_text(folder.path()), Error);
  write_file_atomically(folder.path() / "chat_template.jinja", "D");
  EXPECT_EQ(read_template_text(folder.path()), "D");
}

}  // namespace
}  // namespace deepsearch
