#include "data/answer_form.h"

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "data/curation.h"
#include "data/problem_file.h"

namespace deepsearch {
namespace {

TEST(AnswerForm, GoesByTheForm) {
  for (const char* text : {"Yes", "no", " NO ", "\\text{Yes}", "$yes$", "No."}) {
    EXPECT_EQ(answer_form(text), AnswerForm::kYesNo) << text;
  }
  for (const char* text : {"True", "FALSE", "\\text{true}"})
    EXPECT_EQ(answer_form(text), AnswerForm::kTrueFalse) << text;
  for (const char* text : {"B", "e", "(A)", "\\text{(B)}", "\\mathrm{C}", "D."}) {
    EXPECT_EQ(answer_form(text), AnswerForm::kLetter) << text;
  }
  for (const char* text : {"600", "-1", "58,500", "+3", "$12$"}) {
    EXPECT_EQ(answer_form(text), AnswerForm::kInteger) << text;
  }
  for (const char* text :
       {"", "F", "0, 1", "1,2", "1.5", "yes and no", "\\frac{1}{2}", "x", "12,34", "\\text{A} \\text{B}"}) {
    EXPECT_EQ(answer_form(text), AnswerForm::kOther) << text;
  }
}

std::filesystem::path shared_file(const char* name) {
  const char* folder = std::getenv("DEEPSEARCH_SHARED");
  return std::filesystem::path(folder != nullptr ? folder : DEEPSEARCH_SHARED_DEFAULT) / "data" / "deepmath" / name;
}

// The published hard sets: shares by form as their README says, repeats, and the one pair that contradicts.
TEST(AnswerForm, SharesOfThePublishedHardSets) {
  struct Case {
    const char* file;
    std::array<double, kAnswerForms> percent;
    int64_t repeats;
  };
  for (const Case& expected : {Case{"hard_round0.jsonl", {25.6, 2.7, 10.7, 24.8, 36.2}, 81},
                               Case{"hard_round1.jsonl", {15.4, 2.7, 11.9, 27.7, 42.4}, 52}}) {
    const std::filesystem::path path = shared_file(expected.file);
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
    const std::vector<ProblemRow> rows = read_problem_file(path);
    std::array<double, kAnswerForms> found{};
    for (const ProblemRow& row : rows) ++found[static_cast<size_t>(answer_form(row.problem.answer))];
    for (size_t form = 0; form < found.size(); ++form) {
      EXPECT_NEAR(100 * found[form] / static_cast<double>(rows.size()), expected.percent[form], 0.0501) << form;
    }
    const Curation curation = curate(rows, false, [](const std::string&, const std::string&) { return false; });
    EXPECT_EQ(curation.repeats, expected.repeats);
    ASSERT_EQ(curation.conflicts.size(), 1U);
    EXPECT_EQ(curation.contradicting, 2);
    EXPECT_EQ(static_cast<int64_t>(curation.kept.size()), static_cast<int64_t>(rows.size()) - expected.repeats - 2);
  }
}

TEST(Curation, ComparesTextsWithoutTheirWhiteSpace) {
  EXPECT_EQ(normalised_text(" Let\tx \n = 1. "), "Let x = 1.");
  EXPECT_NE(normalised_text("let x"), normalised_text("Let x"));
  std::vector<ProblemRow> rows(4);
  const char* texts[] = {"a b", "a  b", "c", " a b"};
  const char* answers[] = {"1", "1.0", "2", "3"};
  for (size_t i = 0; i < 4; ++i) {
    rows[i].problem.prompt = texts[i];
    rows[i].problem.answer = answers[i];
  }
  const auto same = [](const std::string& a, const std::string& b) { return a == "1" && b == "1.0"; };
  const Curation strict = curate(rows, false, same);
  EXPECT_EQ(strict.kept, (std::vector<int64_t>{2}));
  EXPECT_EQ(strict.repeats, 1);
  ASSERT_EQ(strict.conflicts.size(), 1U);
  EXPECT_EQ(strict.conflicts[0].first, 0);
  EXPECT_EQ(strict.conflicts[0].second, 3);
  EXPECT_EQ(curate(rows, true, same).kept, (std::vector<int64_t>{0, 2, 3}));
}

}  // namespace
}  // namespace deepsearch
