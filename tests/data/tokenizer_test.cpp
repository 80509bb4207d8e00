// tokenizer.json: its content here; what PyPI's `tokenizers` makes of it in tests/oracle/tokenizer_oracle.py, for which
// this program writes a folder a task into $DEEPSEARCH_ORACLE_OUT.
#include <cstdlib>
#include <filesystem>
#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "data/task.h"
#include "data/task_testing.h"

namespace deepsearch {
namespace {

namespace fs = std::filesystem;
using testing::task_named;

TEST(Tokenizer, ListsTheVocabulary) {
  for (const std::string& name : task_names()) {
    const auto task = task_named(name);
    const auto json = nlohmann::json::parse(tokenizer_json(*task));
    EXPECT_EQ(json["model"]["type"], "WordLevel");
    EXPECT_EQ(json["pre_tokenizer"]["type"], "WhitespaceSplit");
    const auto words = json["model"]["vocab"].get<std::map<std::string, size_t>>();
    ASSERT_EQ(words.size(), task->vocabulary().size());
    for (const auto& [word, id] : words) EXPECT_EQ(task->vocabulary()[id], word);
    EXPECT_FALSE(words.contains(json["model"]["unk_token"])) << "an unknown word must stay an error";
    ASSERT_EQ(json["added_tokens"].size(), 1U);
    EXPECT_EQ(json["added_tokens"][0]["content"], "<pad>");
    EXPECT_EQ(json["added_tokens"][0]["id"], task->pad_token());
    const auto config = nlohmann::json::parse(tokenizer_config_json(*task));
    EXPECT_EQ(config["eos_token"], ".");
    EXPECT_EQ(config["pad_token"], "<pad>");
    EXPECT_EQ(config["clean_up_tokenization_spaces"], false);
  }
}

void write_oracle_folder(const Task& task, const fs::path& folder) {
  create_folders(folder);
  write_file_atomically(folder / "tokenizer.json", tokenizer_json(task));
  write_file_atomically(folder / "tokenizer_config.json", tokenizer_config_json(task));
  std::string lines;
  const auto add = [&](const std::string& text) {
    const std::vector<Token> ids = task.encode(text);
    lines += nlohmann::json({{"text", text}, {"ids", ids}, {"decoded", task.decode(ids)}}).dump() + "\n";
  };
  add("");
  add("  3\t4 \r\n . \n");
  std::string all;
  for (const std::string& word : task.vocabulary()) all += word + " ";
  add(all);
  for (uint64_t index = 0; index < 100; ++index) {
    const Example example = task.demonstration(index);
    add(example.problem.prompt + "\n" + task.decode(example.solution));
  }
  for (const char* const text : {"cat", "3 cat", "3,", "3.", "99", "<unk>", "é"}) {
    EXPECT_ANY_THROW(task.encode(text)) << text;
    lines += nlohmann::json({{"text", text}, {"refused", true}}).dump() + "\n";
  }
  write_file_atomically(folder / "samples.jsonl", lines);
}

TEST(Tokenizer, WritesTheOraclesFolder) {
  const char* const out = std::getenv("DEEPSEARCH_ORACLE_OUT");
  if (out == nullptr) GTEST_SKIP() << "set DEEPSEARCH_ORACLE_OUT to a folder to write what tokenizer_oracle.py reads";
  for (const std::string& name : task_names()) {
    write_oracle_folder(*task_named(name), fs::path(out) / name);
    EXPECT_TRUE(fs::exists(fs::path(out) / name / "samples.jsonl"));
  }
}

}  // namespace
}  // namespace deepsearch
