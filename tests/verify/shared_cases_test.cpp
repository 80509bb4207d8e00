// The shared case files, their verdicts and their bound; needs ../shared.
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "verify/case_file.h"

namespace deepsearch {
namespace {

namespace fs = std::filesystem;

fs::path shared_folder() {
  const char* set = std::getenv("DEEPSEARCH_SHARED");
  return set != nullptr ? set : DEEPSEARCH_SHARED_DEFAULT;
}

std::vector<nlohmann::json> lines_of(const fs::path& path) {
  std::ifstream in(path);
  std::vector<nlohmann::json> out;
  for (std::string line; std::getline(in, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

// Cases that came out otherwise than expected.
std::vector<std::string> misjudged(const std::vector<nlohmann::json>& lines, const std::string& level) {
  std::vector<std::string> out;
  for (const nlohmann::json& line : lines) {
    if (!level.empty() && line.at("level") != level) continue;
    const VerifierCase one = read_case(line, "case");
    const Verdict verdict = MathVerifier(one.options).verify(one.gold, one.response);
    if ((verdict.outcome == Outcome::kCorrect) != (one.expected == 1)) out.push_back(one.id);
  }
  return out;
}

TEST(SharedCases, ParityWithMathVerify) {
  const fs::path file = shared_folder() / "data/verify/cases.jsonl";
  if (!fs::exists(file)) GTEST_SKIP() << file << " is not here";
  const std::vector<nlohmann::json> lines = lines_of(file);
  ASSERT_EQ(lines.size(), 148U);
  // 1 − 1/e and 1 + 1/e: marked as a slip, and they are not equal.
  EXPECT_EQ(misjudged(lines, ""), std::vector<std::string>{"test_yujianll/test_string_extraction/009"});
}

TEST(SharedCases, HostileTexts) {
  const fs::path file = shared_folder() / "data/verify/hostile.jsonl";
  if (!fs::exists(file)) GTEST_SKIP() << file << " is not here";
  const std::vector<nlohmann::json> lines = lines_of(file);
  ASSERT_EQ(lines.size(), 407U);
  EXPECT_EQ(misjudged(lines, "must"), std::vector<std::string>{});
  // Fifty thousand terms: refused by the bound on length.
  EXPECT_EQ(misjudged(lines, "stretch"), std::vector<std::string>{"size_and_depth/14"});
}

std::string changed(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// A wrong answer near the right one: a digit, a sign or a bracket changed. Empty: none found.
std::string disturbed(const std::string& text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] >= '0' && text[i] <= '9') {
      std::string out = text;
      out[i] = text[i] == '9' ? '8' : static_cast<char>(text[i] + 1);
      return out;
    }
  }
  if (text.starts_with("[")) return std::string("(").append(text, 1);
  if (text.starts_with("-")) return text.substr(1);
  return "";
}

class ReferenceAnswers : public testing::TestWithParam<const char*> {};

TEST_P(ReferenceAnswers, EqualThemselvesAndNothingElse) {
  const fs::path file = shared_folder() / "data" / GetParam();
  if (!fs::exists(file)) GTEST_SKIP() << file << " is not here";
  MathVerifier verifier;
  size_t n = 0;
  size_t unread = 0;
  std::vector<std::string> wrong;
  std::vector<std::string> accepted;
  for (const nlohmann::json& line : lines_of(file)) {
    const std::string gold = line.at("answer");
    ++n;
    const bool read = verifier.reads(gold);
    if (!read) ++unread;
    const auto correct = [&](const std::string& answer) {
      return verifier.verify(gold, std::string("So it is \\boxed{").append(answer).append("}.")).outcome ==
             Outcome::kCorrect;
    };
    if (!correct(gold) || !correct(changed(gold, "\\frac", "\\dfrac")) ||
        !correct(std::string(" ").append(changed(gold, "+", " + ")).append(" "))) {
      wrong.push_back(gold);
    }
    const std::string other = disturbed(gold);
    if (!other.empty() && correct(other)) accepted.push_back(gold + " = " + other);
  }
  RecordProperty("unread", static_cast<int>(unread));
  std::printf("%s: %zu answers, %zu compared as text, %zu fail, %zu accepted changed\n", GetParam(), n, unread,
              wrong.size(), accepted.size());
  for (size_t i = 0; i < wrong.size() && i < 40; ++i) std::printf("  WRONG %s\n", wrong[i].c_str());
  for (size_t i = 0; i < accepted.size() && i < 40; ++i) std::printf("  ACCEPTED %s\n", accepted[i].c_str());
  EXPECT_TRUE(wrong.empty());
  EXPECT_TRUE(accepted.empty());
  EXPECT_LT(unread * 100, n * 3);
}

INSTANTIATE_TEST_SUITE_P(Benchmarks, ReferenceAnswers,
                         testing::Values("benchmarks/aime24.jsonl", "benchmarks/aime25.jsonl", "benchmarks/amc23.jsonl",
                                         "benchmarks/math500.jsonl", "benchmarks/minerva.jsonl",
                                         "benchmarks/olympiad.jsonl", "benchmarks/gsm8k.jsonl",
                                         "deepmath/hard_round0.jsonl", "deepmath/hard_round1.jsonl"));

}  // namespace
}  // namespace deepsearch
