#include "data/json_lines.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/temp_folder.h"

namespace deepsearch {
namespace {

std::string error_of(const std::filesystem::path& path) {
  try {
    JsonLinesReader reader(path);
    nlohmann::json object;
    while (reader.next(object)) json_tokens(object, "tokens", reader.place());
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    return error.what();
  }
  return "";
}

TEST(JsonLines, WhatIsWrittenIsRead) {
  const TempFolder folder;
  const std::filesystem::path path = folder.path() / "out.jsonl";
  {
    JsonLinesWriter writer(path);
    for (int i = 0; i < 1000; ++i) writer.write({{"tokens", {i, i + 1}}, {"text", "ünï \n \"" + std::to_string(i)}});
    EXPECT_FALSE(std::filesystem::exists(path)) << "not before finish()";
    writer.finish();
  }
  JsonLinesReader reader(path);
  nlohmann::json object;
  int n = 0;
  while (reader.next(object)) {
    EXPECT_EQ(json_tokens(object, "tokens", reader.place()), (std::vector<Token>{n, n + 1}));
    EXPECT_EQ(json_text(object, "text", reader.place()), "ünï \n \"" + std::to_string(n));
    ++n;
  }
  EXPECT_EQ(n, 1000);
}

TEST(JsonLines, WithoutFinishNothingStays) {
  const TempFolder folder;
  { JsonLinesWriter(folder.path() / "out.jsonl").write({{"a", 1}}); }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(JsonLines, ErrorsNameFileAndLine) {
  const TempFolder folder;
  const auto path = folder.path() / "in.jsonl";
  const auto error = [&](const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
    return error_of(path);
  };
  EXPECT_EQ(error("{\"tokens\":[1]}\n\n  \r\n{\"tokens\":[]}"), "");
  EXPECT_THAT(error("{\"tokens\":[1]}\n[1]\n"), ::testing::HasSubstr("in.jsonl:2: [1]; a line is one JSON object"));
  EXPECT_THAT(error("\n{\"tokens\":[1"), ::testing::HasSubstr("in.jsonl:2: byte 13: not JSON"));
  EXPECT_THAT(error("{}"), ::testing::HasSubstr("in.jsonl:1: key \"tokens\" is missing"));
  EXPECT_THAT(error("{\"tokens\":\"a\"}"), ::testing::HasSubstr("must be a list of token ids, found \"a\""));
  EXPECT_THAT(error("{\"tokens\":[3,-1]}"), ::testing::HasSubstr("\"tokens\"[1] must be a token id from 0, found -1"));
  EXPECT_THAT(error("{\"tokens\":[3,1e3]}"), ::testing::HasSubstr("\"tokens\"[1]"));
  EXPECT_THAT(error("{\"tokens\":[99999999999]}"), ::testing::HasSubstr("\"tokens\"[0]"));
  EXPECT_THAT(error("{\"tokens\":[1e999]}"), ::testing::HasSubstr("in.jsonl:1"));
  EXPECT_THAT(error("{\"a\":\"\xff\"}"), ::testing::HasSubstr("not JSON"));
  EXPECT_THAT(error_of(folder.path()), ::testing::HasSubstr("a folder, not a file"));
  EXPECT_THAT(error_of(folder.path() / "none"), ::testing::HasSubstr("No such file"));
}

}  // namespace
}  // namespace deepsearch
