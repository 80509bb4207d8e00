#include "data/problem_file.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"

namespace deepsearch {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kLine = R"({"id": "a", "source": "s", "problem": "1 + 1?", "answer": "2"})";

std::string complaint(const std::string& text) {
  try {
    parse_problem_file(text, "file.jsonl");
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << "one line";
    EXPECT_LT(std::string(error.what()).size(), 600U);
    return error.what();
  }
  return "";
}

class ProblemFile : public ::testing::Test {
 protected:
  ProblemFile()
      : folder_(fs::temp_directory_path() / fmt::format("problem_file_{}_{}",
                                                        ::testing::UnitTest::GetInstance()->current_test_info()->name(),
                                                        reinterpret_cast<uintptr_t>(this))) {
    fs::create_directories(folder_);
  }
  ~ProblemFile() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  fs::path folder_;
};

TEST(ProblemText, IsReadByName) {
  const auto rows = parse_problem_file(
      kLine + "\n" +
          R"({"round": 1, "pass_rate": 0.25, "subject": "Algebra", "level": 5.5, "extra": {"id": [1, {"id": "b"}]}, )" +
          R"("answer": "\\frac12", "problem": "Gr\u00f6\u00dfe \ud83d\ude00\t?", "source": "s", "id": "b"})",
      "x");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].problem.id, "a");
  EXPECT_EQ(rows[0].problem.source, "s");
  EXPECT_EQ(rows[0].problem.prompt, "1 + 1?");
  EXPECT_EQ(rows[0].problem.answer, "2");
  EXPECT_TRUE(rows[0].problem.prompt_tokens.empty());
  EXPECT_EQ(rows[0].problem.key, problem_key("s", "1 + 1?"));
  EXPECT_FALSE(rows[0].level || rows[0].pass_rate || rows[0].round);
  EXPECT_EQ(rows[0].subject, "");
  EXPECT_EQ(rows[1].problem.id, "b");
  EXPECT_EQ(rows[1].problem.prompt, "Größe 😀\t?");
  EXPECT_EQ(rows[1].problem.answer, "\\frac12");
  EXPECT_EQ(rows[1].level, 5.5);
  EXPECT_EQ(rows[1].subject, "Algebra");
  EXPECT_EQ(rows[1].pass_rate, 0.25);
  EXPECT_EQ(rows[1].round, 1);
}

TEST(ProblemText, LineEnds) {
  EXPECT_EQ(parse_problem_file(kLine, "x").size(), 1U);
  EXPECT_EQ(parse_problem_file(kLine + "\n", "x").size(), 1U);
  EXPECT_EQ(parse_problem_file(kLine + "\r\n", "x").size(), 1U);
  EXPECT_THAT(complaint(kLine + "\n\n"), StartsWith("file.jsonl:2: blank line"));
  EXPECT_THAT(complaint("\n" + kLine), StartsWith("file.jsonl:1: blank line"));
  EXPECT_THAT(complaint(kLine + "\n \t\r\n" + kLine), StartsWith("file.jsonl:2: blank line"));
  EXPECT_THAT(complaint("\xEF\xBB\xBF" + kLine), AllOf(StartsWith("file.jsonl:1:"), HasSubstr("byte order mark")));
  EXPECT_THAT(complaint(kLine + "\n\xEF\xBB\xBF" + kLine),
              AllOf(StartsWith("file.jsonl:2:"), HasSubstr("byte order mark")));
  EXPECT_THAT(complaint(""), HasSubstr("file.jsonl: holds no problems"));
}

TEST(ProblemText, FaultsAreNamedWithTheirLine) {
  const auto second = [](const std::string& line) { return complaint(kLine + "\n" + line + "\n" + kLine); };
  const auto with = [&](const std::string& key, const std::string& value) {
    std::string line = R"({"id": "b", "source": "s", "problem": "p", "answer": "2"})";
    const std::string quoted = "\"" + key + "\": ";
    if (const size_t at = line.find(quoted); at != std::string::npos) {
      const size_t end = line.find_first_of(",}", at);
      line.replace(at, end - at, quoted + value);
    } else {
      line.replace(line.size() - 1, 1, ", " + quoted + value + "}");
    }
    return second(line);
  };
  EXPECT_THAT(second(kLine), AllOf(StartsWith("file.jsonl:2:"), HasSubstr("id \"a\" is already that of line 1")));
  EXPECT_THAT(second(R"({"id": "b", "source": "s", "problem": "p"})"),
              AllOf(StartsWith("file.jsonl:2:"), HasSubstr("\"answer\" is missing")));
  EXPECT_THAT(second("{}"), HasSubstr("\"id\" is missing"));
  EXPECT_THAT(second("[]"), HasSubstr("one JSON object"));
  EXPECT_THAT(second("3"), HasSubstr("one JSON object"));
  EXPECT_THAT(second("\"id\""), HasSubstr("one JSON object"));
  EXPECT_THAT(second("null"), HasSubstr("one JSON object"));
  EXPECT_THAT(second(kLine + kLine), HasSubstr("file.jsonl:2: byte"));
  EXPECT_THAT(second(kLine.substr(0, 30)), HasSubstr("file.jsonl:2: byte"));
  EXPECT_THAT(second("{'id': 3}"), HasSubstr("file.jsonl:2: byte 2"));
  EXPECT_THAT(with("answer", "2"), HasSubstr("key \"answer\" is a number; it must be a string"));
  EXPECT_THAT(with("problem", "null"), HasSubstr("key \"problem\" is null; it must be a string"));
  EXPECT_THAT(with("problem", "[\"p\"]"), HasSubstr("key \"problem\" is an array"));
  EXPECT_THAT(with("id", "{}"), HasSubstr("key \"id\" is an object"));
  EXPECT_THAT(with("source", "true"), HasSubstr("key \"source\" is true or false"));
  EXPECT_THAT(with("answer", "\" \\n\""), HasSubstr("key \"answer\" is empty"));
  EXPECT_THAT(with("subject", "\"\""), HasSubstr("leave it out"));
  EXPECT_THAT(with("subject", "3"), HasSubstr("must be a string, or left out"));
  EXPECT_THAT(with("level", "null"), HasSubstr("key \"level\" is null; it must be a number, or left out"));
  EXPECT_THAT(with("level", "\"5\""), HasSubstr("key \"level\" is a string; it must be a number"));
  EXPECT_THAT(with("level", "1e999"), HasSubstr("file.jsonl:2: byte"));
  EXPECT_THAT(with("level", "NaN"), HasSubstr("file.jsonl:2: byte"));
  EXPECT_THAT(with("pass_rate", "1.01"), HasSubstr("between 0 and 1"));
  EXPECT_THAT(with("pass_rate", "-0.5"), HasSubstr("between 0 and 1"));
  EXPECT_THAT(with("round", "0.5"), HasSubstr("whole number"));
  EXPECT_THAT(with("round", "-1"), HasSubstr("whole number"));
  EXPECT_THAT(with("round", "18446744073709551615"), HasSubstr("whole number"));
  EXPECT_THAT(with("level\": 3, \"level", "3"), HasSubstr("key \"level\" comes twice"));
  EXPECT_THAT(with("id", "\"a\\nb\""), HasSubstr("control character"));
  EXPECT_THAT(with("id", "\"" + std::string(257, 'x') + "\""), HasSubstr("257 bytes long; at most 256"));
}

TEST(ProblemText, InvalidUtf8IsRefused) {
  for (const std::string bad : {"\xFF", "\xC3", "\xC0\xAF", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xE2\x82"}) {
    const std::string line = R"({"id": "a", "source": "s", "answer": "2", "problem": "x)" + bad + "\"}";
    EXPECT_THAT(complaint(line), AllOf(StartsWith("file.jsonl:1: byte"), HasSubstr("UTF-8"))) << line;
  }
  EXPECT_THAT(complaint(R"({"id": "a", "source": "s", "answer": "2", "problem": "\ud800"})"), HasSubstr("byte"));
}

TEST(ProblemText, SizesAreBounded) {
  const auto line_of = [](size_t bytes) {
    const std::string head = R"({"id": "a", "source": "s", "answer": "2", "problem": ")";
    return head + std::string(bytes - head.size() - 2, 'x') + "\"}";
  };
  EXPECT_EQ(complaint(line_of(kMaxProblemLineBytes)), "");
  EXPECT_THAT(complaint(line_of(kMaxProblemLineBytes + 1)), HasSubstr("file.jsonl:1: the line is 1048577 bytes long"));
  // As deep as a line can be.
  EXPECT_THAT(complaint(R"({"x": )" + std::string(1000000, '[')), HasSubstr("file.jsonl:1: byte"));
  std::string deep = kLine;
  deep.replace(deep.size() - 1, 1, ", \"x\": " + std::string(400000, '[') + std::string(400000, ']') + "}");
  EXPECT_EQ(complaint(deep), "");
}

std::string random_text(RandomStream& random) {
  const char* const pieces[] = {"a", " ",    "\\", "\"", "\n", "\t", "\b", "\f", "é", "\u2028", "😀", "$\\frac{1}{2}$",
                                "/", "\x7F", "{",  "0"};
  std::string text = "x";
  for (uint64_t i = random.below(12); i > 0; --i) text += pieces[random.below(std::size(pieces))];
  return text;
}

std::vector<ProblemRow> random_rows(RandomStream& random) {
  std::vector<ProblemRow> rows(1 + random.below(5));
  for (size_t i = 0; i < rows.size(); ++i) {
    Problem& problem = rows[i].problem;
    problem.id = fmt::format("é-{}", i);
    problem.source = std::string("s");
    problem.prompt = random_text(random);
    problem.answer = random_text(random);
    problem.key = problem_key(problem.source, problem.prompt);
    if (random.below(2) == 0) rows[i].level = random.below(2) == 0 ? 3.0 : random.normal() * 1e3;
    if (random.below(2) == 0) rows[i].subject = random_text(random);
    if (random.below(2) == 0) rows[i].pass_rate = random.uniform();
    if (random.below(2) == 0) rows[i].round = random.between(0, 1000000000);
  }
  return rows;
}

void expect_same(const std::vector<ProblemRow>& one, const std::vector<ProblemRow>& two) {
  ASSERT_EQ(one.size(), two.size());
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].problem.id, two[i].problem.id);
    EXPECT_EQ(one[i].problem.source, two[i].problem.source);
    EXPECT_EQ(one[i].problem.prompt, two[i].problem.prompt);
    EXPECT_EQ(one[i].problem.answer, two[i].problem.answer);
    EXPECT_EQ(one[i].problem.key, two[i].problem.key);
    EXPECT_EQ(one[i].level, two[i].level);
    EXPECT_EQ(one[i].subject, two[i].subject);
    EXPECT_EQ(one[i].pass_rate, two[i].pass_rate);
    EXPECT_EQ(one[i].round, two[i].round);
  }
}

TEST_F(ProblemFile, WhatIsWrittenIsReadBack) {
  RandomStream random(1, RngPurpose::kTests, 2);
  for (int i = 0; i < 300; ++i) {
    const std::vector<ProblemRow> rows = random_rows(random);
    std::string text;
    for (const ProblemRow& row : rows) text += format_problem(row) + "\n";
    expect_same(parse_problem_file(text, "x"), rows);
    if (i < 5) {
      const fs::path path = folder_ / fmt::format("{}.jsonl", i);
      write_problem_file(path, rows);
      expect_same(read_problem_file(path), rows);
    }
  }
}

TEST_F(ProblemFile, WhatCouldNotBeReadIsNotWritten) {
  const fs::path path = folder_ / "x.jsonl";
  const auto refused = [&](const std::vector<ProblemRow>& rows) {
    try {
      write_problem_file(path, rows);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), kExitBadInput);
      EXPECT_FALSE(fs::exists(path));
      return std::string(error.what());
    }
    return std::string();
  };
  ProblemRow good;
  good.problem = {.id = "a", .source = "s", .prompt = "p", .answer = "2", .prompt_tokens = {}, .key = 0};
  ProblemRow empty = good;
  empty.problem.answer = "";
  ProblemRow bytes = good;
  bytes.problem.prompt = "\xFF";
  ProblemRow level = good;
  level.level = std::numeric_limits<double>::infinity();
  EXPECT_THAT(refused({good, good}), HasSubstr("x.jsonl:2: id \"a\" is already that of line 1"));
  EXPECT_THAT(refused({empty}), HasSubstr("\"answer\" is empty"));
  EXPECT_THAT(refused({bytes}), HasSubstr("problem \"a\": a text of it is not valid UTF-8"));
  EXPECT_THAT(refused({level}), HasSubstr("\"level\""));
  EXPECT_THAT(refused({}), HasSubstr("holds no problems"));
  EXPECT_EQ(refused({good}), "");
  EXPECT_TRUE(fs::exists(path));
}

TEST_F(ProblemFile, MissingFilesAreNamed) {
  try {
    read_problem_file(folder_ / "nowhere.jsonl");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    EXPECT_THAT(error.what(), HasSubstr("nowhere.jsonl"));
  }
}

// Any damage is either harmless or an Error with the file's name.
TEST(ProblemText, DamageIsSurvived) {
  RandomStream random(3, RngPurpose::kTests, 4);
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    for (const ProblemRow& row : random_rows(random)) text += format_problem(row) + "\n";
    for (uint64_t changes = 1 + random.below(3); changes > 0; --changes) {
      const size_t place = random.below(text.size());
      const char tokens[] = "{}[]\",:\\\n0eu\xFF\xEF";
      switch (random.below(4)) {
        case 0:
          text[place] = static_cast<char>(random.below(256));
          break;
        case 1:
          text[place] = tokens[random.below(sizeof(tokens))];
          break;
        case 2:
          text.erase(place, 1 + random.below(20));
          break;
        default:
          text.insert(place, text.substr(random.below(text.size()), random.below(30)));
          break;
      }
      if (text.empty()) text.push_back('{');
    }
    try {
      for (const ProblemRow& row : parse_problem_file(text, "damaged")) {
        EXPECT_FALSE(row.problem.id.empty() || row.problem.prompt.empty() || row.problem.answer.empty());
        EXPECT_NO_THROW(format_problem(row));
      }
    } catch (const Error& error) {
      ++refused;
      EXPECT_THAT(error.what(), StartsWith("damaged:"));
    }
  }
  EXPECT_GT(refused, 3000);
}

// The published sets, where they are at hand.
TEST(SharedData, EveryProblemFileIsRead) {
  const char* const set = std::getenv("DEEPSEARCH_SHARED");
  const fs::path data = fs::path(set != nullptr ? set : DEEPSEARCH_SHARED_DEFAULT) / "data";
  if (!fs::exists(data / "benchmarks")) GTEST_SKIP() << "no problem sets in " << data << "; set DEEPSEARCH_SHARED";
  const std::vector<std::pair<const char*, size_t>> expected = {
      {"benchmarks/aime24.jsonl", 30},   {"benchmarks/aime25.jsonl", 30},       {"benchmarks/amc23.jsonl", 40},
      {"benchmarks/math500.jsonl", 500}, {"benchmarks/minerva.jsonl", 272},     {"benchmarks/olympiad.jsonl", 675},
      {"benchmarks/gsm8k.jsonl", 1319},  {"deepmath/hard_round0.jsonl", 20503}, {"deepmath/hard_round1.jsonl", 13658}};
  for (const auto& [name, count] : expected) {
    const std::vector<ProblemRow> rows = read_problem_file(data / name);
    EXPECT_EQ(rows.size(), count) << name;
    // Line by line the same values as a plain JSON reader finds, and as come back after writing.
    std::ifstream file(data / name);
    std::string line;
    for (const ProblemRow& row : rows) {
      ASSERT_TRUE(std::getline(file, line));
      ASSERT_EQ(nlohmann::json::parse(line), nlohmann::json::parse(format_problem(row)))
          << name << " " << row.problem.id;
    }
  }
}

}  // namespace
}  // namespace deepsearch
