// Our side of tests/oracle/chat_oracle.py: questions.jsonl → answers.jsonl beside it.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "tokenizer/chat_template.h"

namespace deepsearch {
namespace {

TEST(ChatOracle, AnswersTheQuestions) {
  const char* const path = std::getenv("DEEPSEARCH_CHAT_ORACLE");
  if (path == nullptr) GTEST_SKIP() << "chat_oracle.py sets DEEPSEARCH_CHAT_ORACLE to a file of questions";
  std::ifstream in(path);
  std::string answers;
  size_t n = 0;
  for (std::string line; std::getline(in, line); ++n) {
    const auto question = nlohmann::json::parse(line);
    std::vector<ChatMessage> messages;
    for (const auto& message : question["messages"]) messages.push_back({message["role"], message["content"]});
    const std::string name = recognise_template(question["jinja"].get<std::string>());
    const std::string text = apply_chat_template(
        name, messages,
        {.add_generation_prompt = question["add_generation_prompt"], .enable_thinking = question["enable_thinking"]});
    answers += nlohmann::json({{"name", name}, {"text", text}}).dump() + "\n";
  }
  EXPECT_GT(n, 0U);
  write_file_atomically(std::filesystem::path(path).parent_path() / "answers.jsonl", answers);
}

}  // namespace
}  // namespace deepsearch
