#include "run/demonstration_file.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/temp_folder.h"
#include "tokenizer/sample_tokenizers.h"

namespace deepsearch {
namespace {

using ::testing::HasSubstr;

// Bytes are tokens 0 to 255; ours are the end of a text, and of a message in chatml.
constexpr Token kEnd = 264;
constexpr Token kMessageEnd = 266;

Tokenizer byte_tokenizer() {
  nlohmann::json file = testing::byte_level_json();
  file["post_processor"] = nullptr;
  file["added_tokens"] = {testing::added_token(kEnd, "<end>"), testing::added_token(265, "<|im_start|>"),
                          testing::added_token(kMessageEnd, "<|im_end|>")};
  return testing::tokenizer_of(file);
}

ModelConfig model(std::vector<Token> ends) {
  ModelConfig config;
  config.vocab_size = 300;
  config.eos_tokens = std::move(ends);
  return config;
}

class Demonstrations : public ::testing::Test {
 protected:
  DemonstrationFile read(const std::string& text, int64_t limit = 100, TooLong too_long = TooLong::kLeaveOut) const {
    const PromptEncoder encoder(folder_.path(), byte_tokenizer(), format_);
    return read_demonstrations(folder_.write("data.jsonl", text), encoder, model_, limit, too_long);
  }
  std::string refusal(const std::string& text) const {
    try {
      read(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), kExitBadInput);
      return error.what();
    }
    return "nothing was refused";
  }
  std::string text_of(const std::vector<Token>& tokens) const { return byte_tokenizer().decode(tokens); }

  TempFolder folder_;
  PromptFormat format_;
  ModelConfig model_ = model({kEnd});
};

TEST_F(Demonstrations, TextsBecomePromptAndResponseWithItsEnd) {
  const DemonstrationFile file = read(
      "{\"prompt\": \"ab\", \"response\": \"c\", \"note\": 1}\n\n"
      "{\"prompt\": \"d\", \"response\": \"\"}\n");
  ASSERT_EQ(file.rows.size(), 2U);
  EXPECT_EQ(file.rows[0].tokens, (std::vector<Token>{'a', 'b', 'c', kEnd}));
  EXPECT_EQ(file.rows[0].n_prompt, 2);
  EXPECT_EQ(file.rows[1].tokens, (std::vector<Token>{'d', kEnd}));
  EXPECT_EQ(file.lines, 2);
}

TEST_F(Demonstrations, IdsNeedNoTokenizerAndKeepAnEndTheyHave) {
  const std::string path = folder_.write("ids.jsonl",
                                         "{\"prompt_tokens\": [5, 6], \"response_tokens\": [7, 264]}\n"
                                         "{\"prompt_tokens\": [5], \"response_tokens\": [264, 8]}\n");
  const PromptEncoder encoder(folder_.path(), std::nullopt, {});
  const DemonstrationFile file = read_demonstrations(path, encoder, model_, 100, TooLong::kLeaveOut);
  EXPECT_EQ(file.rows.at(0).tokens, (std::vector<Token>{5, 6, 7, kEnd}));
  EXPECT_EQ(file.rows.at(1).tokens, (std::vector<Token>{5, kEnd, 8, kEnd}));
}

TEST_F(Demonstrations, MessagesGoThroughTheTemplateAndEndAsItSays) {
  format_.chat_template = "chatml";
  model_ = model({kEnd, kMessageEnd});
  const DemonstrationFile file =
      read(R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}, )"
           R"({"role": "assistant", "content": "A"}]})"
           "\n{\"prompt\": \"Q\", \"response\": \"A\"}\n");
  ASSERT_EQ(file.rows.size(), 2U);
  EXPECT_EQ(text_of(file.rows[0].tokens),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>");
  EXPECT_EQ(text_of(file.rows[1].tokens), "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>");
  for (const Demonstration& row : file.rows) {
    EXPECT_EQ(row.tokens.back(), kMessageEnd);
    EXPECT_EQ(static_cast<int64_t>(row.tokens.size()) - row.n_prompt, 2);
  }
  model_ = model({kEnd});  // where the template's own end does not end a text, the model's does
  EXPECT_EQ(read("{\"prompt\": \"Q\", \"response\": \"A\"}\n").rows.at(0).tokens.back(), kEnd);
}

TEST_F(Demonstrations, TooLongRowsAreLeftOutOrCutAndCounted) {
  const std::string text =
      "{\"prompt_tokens\": [1, 2], \"response_tokens\": [3]}\n"
      "{\"prompt_tokens\": [1, 2], \"response_tokens\": [3, 4, 5]}\n"
      "{\"prompt_tokens\": [1, 2, 3, 4], \"response_tokens\": [5]}\n";
  const DemonstrationFile left = read(text, 4);
  EXPECT_EQ(left.rows.size(), 1U);
  EXPECT_EQ(left.left_out, 2);
  EXPECT_EQ(left.cut, 0);
  const DemonstrationFile cut = read(text, 4, TooLong::kCut);
  ASSERT_EQ(cut.rows.size(), 2U);
  EXPECT_EQ(cut.rows[1].tokens, (std::vector<Token>{1, 2, 3, 4}));
  EXPECT_EQ(cut.left_out, 1);  // nothing of its response would be left
  EXPECT_EQ(cut.cut, 1);
}

TEST_F(Demonstrations, BadLinesAreNamed) {
  const std::string good = "{\"prompt\": \"a\", \"response\": \"b\"}\n";
  EXPECT_THAT(refusal(good + "{\"text\": \"a\"}\n"), HasSubstr("data.jsonl:2: a line holds \"prompt\""));
  EXPECT_THAT(refusal(good + "{\"prompt\": \"a\"}\n"), HasSubstr("data.jsonl:2: key \"response\" is missing"));
  EXPECT_THAT(refusal(good + good + "{\"prompt\": 3, \"response\": \"b\"}\n"), HasSubstr("data.jsonl:3: \"prompt\""));
  EXPECT_THAT(refusal(good + "{\"prompt\": \"\", \"response\": \"b\"}\n"), HasSubstr(":2: a prompt without a"));
  EXPECT_THAT(refusal(good + "{\"prompt_tokens\": [1], \"response_tokens\": [300]}\n"),
              HasSubstr(":2: token 300, and the model's vocabulary is 0 to 299"));
  EXPECT_THAT(refusal(good + "{\"prompt_tokens\": [-1], \"response_tokens\": [3]}\n"),
              HasSubstr(":2: \"prompt_tokens"));
  EXPECT_THAT(refusal("{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}]}\n"),
              HasSubstr(":1: \"messages\" must end with the assistant's"));
  EXPECT_THAT(refusal("{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", "
                      "\"content\": \"A\"}]}\n"),
              HasSubstr(":1: messages need a chat template"));
  EXPECT_THAT(refusal(good + "{\n"), HasSubstr("data.jsonl:2: byte"));
  EXPECT_THAT(refusal("\n"), HasSubstr("not a single line"));
  model_.eos_tokens.clear();
  EXPECT_THAT(refusal(good), HasSubstr("no end-of-sequence token"));
}

TEST_F(Demonstrations, ATokenizerOfAnotherModelIsRefused) {
  EXPECT_NO_THROW(check_tokenizer_fits(byte_tokenizer(), model_, "folder"));
  model_.vocab_size = kMessageEnd;
  EXPECT_THROW(check_tokenizer_fits(byte_tokenizer(), model_, "folder"), Error);
  model_ = model({299});
  EXPECT_THROW(check_tokenizer_fits(byte_tokenizer(), model_, "folder"), Error);
}

TEST_F(Demonstrations, AShareIsHeldOutByTheSeed) {
  const auto split = [](double share, uint64_t seed) {
    std::vector<Demonstration> rows;
    for (Token i = 0; i < 50; ++i) rows.push_back({.tokens = {i, kEnd}, .n_prompt = 1});
    std::vector<Token> held;
    for (const Demonstration& row : split_validation(rows, share, seed)) held.push_back(row.tokens[0]);
    EXPECT_EQ(rows.size() + held.size(), 50U);
    for (const Demonstration& row : rows) EXPECT_EQ(std::ranges::count(held, row.tokens[0]), 0);
    return held;
  };
  EXPECT_EQ(split(0.1, 1).size(), 5U);
  EXPECT_EQ(split(0.1, 1), split(0.1, 1));
  EXPECT_NE(split(0.1, 1), split(0.1, 2));
  EXPECT_EQ(split(0.001, 1).size(), 1U);
  EXPECT_EQ(split(0.9999, 1).size(), 49U);
}

}  // namespace
}  // namespace deepsearch
