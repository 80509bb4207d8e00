#include "verify/math_verifier.h"

#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace deepsearch {
namespace {

Outcome judge(const std::string& gold, const std::string& response, const MathOptions& options = {},
              bool ended = true) {
  return MathVerifier(options).verify(gold, response, ended).outcome;
}

bool boxed(const std::string& gold, const std::string& answer) {
  return judge(gold, std::string("$\\boxed{").append(answer).append("}$")) == Outcome::kCorrect;
}

TEST(MathVerifier, FormsOfOneValue) {
  for (const char* const one : {"\\dfrac{3}{4}", "0.75", "75\\%", "3/4", "\\frac34", "\\frac{6}{8}", "3 \\div 4"}) {
    EXPECT_TRUE(boxed("\\frac{3}{4}", one)) << one;
  }
  EXPECT_TRUE(boxed("yes", "\\text{Yes}"));
  EXPECT_TRUE(boxed("25", "025"));
  EXPECT_TRUE(boxed("1.\\overline{6}", "5/3"));
  EXPECT_FALSE(boxed("\\frac{3}{4}", "-\\frac{3}{4}"));
  EXPECT_FALSE(boxed("1234", "1,235"));
}

TEST(MathVerifier, UnitsAndCurrency) {
  EXPECT_TRUE(boxed("\\$18.90", "18.90"));
  EXPECT_TRUE(boxed("5 \\text{ cm}^2", "5 \\text{ square centimeters}"));
  EXPECT_FALSE(boxed("5 \\text{ cm}^2", "5 \\text{ cm}"));
  EXPECT_TRUE(boxed("3\\text{ hours}", "3\\,\\mathrm{h}"));
}

TEST(MathVerifier, MathsWithoutDollarsBehindThePhrase) {
  EXPECT_EQ(judge("2\\sqrt{2}", "The answer is 2\\sqrt{2}."), Outcome::kCorrect);
  EXPECT_EQ(judge("2", "The answer is 2\\sqrt{2}."), Outcome::kWrong);
}

TEST(MathVerifier, AnInequalityAnswersASetOnlyWhenAsked) {
  EXPECT_FALSE(boxed("(-\\infty,-1)\\cup(1,\\infty)", "x<-1 \\text{ or } x>1"));
  EXPECT_TRUE(boxed("x<-1 \\text{ or } x>1", "(-\\infty,-1)\\cup(1,\\infty)"));
}

TEST(MathVerifier, OrderAndEnds) {
  EXPECT_TRUE(boxed("\\{1,2\\}", "\\{2,1\\}"));
  EXPECT_FALSE(boxed("(1,2)", "(2,1)"));
  EXPECT_FALSE(boxed("(0,5]", "(0,5)"));
  EXPECT_TRUE(boxed("x\\ge 2", "[2,\\infty)"));
  MathOptions ordered;
  ordered.ordered = true;
  EXPECT_EQ(judge("1, 2", "\\boxed{2, 1}", ordered), Outcome::kWrong);
  EXPECT_EQ(judge("1, 2", "\\boxed{2, 1}"), Outcome::kCorrect);
}

TEST(MathVerifier, ToleranceOnlyForARoundedReference) {
  MathOptions options;
  options.tolerance = 1e-2;
  EXPECT_EQ(judge("3.14", "\\boxed{\\pi}", options), Outcome::kCorrect);
  EXPECT_EQ(judge("\\pi", "\\boxed{3.14}", options), Outcome::kWrong);
  EXPECT_EQ(judge("3.14", "\\boxed{\\pi}"), Outcome::kWrong);
}

bool marked(const std::string& gold, const std::string& answer, const AnswerMarks& marks) {
  Problem problem;
  problem.answer = gold;
  problem.marks = marks;
  return MathVerifier().verify(problem, "\\boxed{" + answer + "}", true).outcome == Outcome::kCorrect;
}

TEST(MathVerifier, AProblemMayMarkItsAnswerAsAList) {
  EXPECT_TRUE(marked("1,234", "1234", {}));  // a number, unless it is said to be a list
  EXPECT_TRUE(marked("1,234", "234, 1", {.list = true}));
  EXPECT_FALSE(marked("1,234", "1234", {.list = true}));
  EXPECT_FALSE(marked("(1,2)", "(2,1)", {}));
  EXPECT_TRUE(marked("(1,2)", "2, 1", {.list = true}));
  EXPECT_FALSE(marked("1, 1, 2", "1, 2, 2", {.list = true}));
  EXPECT_TRUE(marked("1, 2", "\\{1, 2\\}", {.ordered = true}));
  EXPECT_FALSE(marked("1, 2", "\\{2, 1\\}", {.ordered = true}));
}

TEST(MathVerifier, AProblemsToleranceHoldsForExactNumbersToo) {
  EXPECT_FALSE(marked("300", "299", {}));
  EXPECT_TRUE(marked("300", "299", {.tolerance = 0.01}));
  EXPECT_FALSE(marked("300", "296", {.tolerance = 0.01}));
  EXPECT_TRUE(marked("\\pi", "3.14", {.tolerance = 0.01}));
  EXPECT_TRUE(marked("1.6\\cdot 10^{-19}", "1.602e-19", {.tolerance = 0.01}));
  EXPECT_FALSE(marked("1.6\\cdot 10^{-19}", "1.7e-19", {.tolerance = 0.01}));
}

TEST(MathVerifier, ABareLogarithmIsNaturalOrDecimal) {
  EXPECT_TRUE(boxed("\\ln 2", "\\log 2"));
  EXPECT_TRUE(boxed("\\log 100", "2"));
  EXPECT_FALSE(boxed("\\ln 100", "2"));
  EXPECT_FALSE(boxed("\\lg 5", "\\ln 5"));
}

TEST(MathVerifier, CutOffIsIncomplete) {
  EXPECT_EQ(judge("5", "We add the terms and", {}, false), Outcome::kIncomplete);
  EXPECT_EQ(judge("5", "So it is \\boxed{5", {}, false), Outcome::kIncomplete);
  EXPECT_EQ(judge("5", "We add the terms and", {}, true), Outcome::kWrong);
  EXPECT_EQ(judge("5", "So it is \\boxed{5}. Let me check", {}, false), Outcome::kCorrect);
}

TEST(MathVerifier, BoxedOnly) {
  MathOptions options;
  options.extraction.phrases = options.extraction.anywhere = false;
  EXPECT_EQ(judge("5", "The answer is 5.", options), Outcome::kWrong);
  EXPECT_EQ(judge("5", "\\fbox{5}", options), Outcome::kCorrect);
}

TEST(MathVerifier, ManyThreadsAgree) {
  std::vector<int> right(8, 0);
  {
    std::vector<std::jthread> threads;
    for (int& count : right) {
      threads.emplace_back([&count] {
        for (int n = 0; n < 200; ++n) count += boxed("\\sin 2x", "2\\sin x\\cos x") ? 1 : 0;
      });
    }
  }
  EXPECT_EQ(right, std::vector<int>(8, 200));
}

TEST(MathVerifier, ExplainShowsBothSides) {
  const std::string text = MathVerifier().explain("\\frac{1}{2}", "\\boxed{0.5}");
  EXPECT_NE(text.find("read as  1/2"), std::string::npos) << text;
  EXPECT_NE(text.find("correct"), std::string::npos) << text;
}

}  // namespace
}  // namespace deepsearch
