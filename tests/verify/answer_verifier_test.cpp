#include "verify/answer_verifier.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace deepsearch {
namespace {

std::string letters(TokenSpan tokens) {
  std::string out;
  for (const Token token : tokens) out += static_cast<char>(token);
  return out;
}

Outcome judge(const AnswerVerifier& verifier, const Problem& problem, const std::string& text, bool ended = true) {
  const std::vector<Token> tokens(text.begin(), text.end());
  return static_cast<const Verifier&>(verifier).verify(problem, tokens, ended).outcome;
}

TEST(AnswerVerifier, JudgesTheTextByTheProblemsMarks) {
  MathOptions boxes;
  boxes.extraction = extraction_of({"boxed"}, "test");
  const AnswerVerifier verifier(boxes, letters);
  Problem problem;
  problem.answer = "1, 2";
  EXPECT_EQ(judge(verifier, problem, "so \\boxed{2, 1}"), Outcome::kCorrect);
  EXPECT_EQ(judge(verifier, problem, "The answer is 1, 2."), Outcome::kWrong);
  EXPECT_EQ(judge(verifier, problem, "so \\boxed{2,", false), Outcome::kIncomplete);
  problem.marks.ordered = true;
  EXPECT_EQ(judge(verifier, problem, "so \\boxed{2, 1}"), Outcome::kWrong);
}

TEST(AnswerVerifier, NeedsTextAndKnownPlaces) {
  EXPECT_THROW(AnswerVerifier({}, nullptr), Error);
  EXPECT_THROW(extraction_of({}, "test"), Error);
  EXPECT_THROW(extraction_of({"boxes"}, "test"), Error);
  EXPECT_TRUE(extraction_of({"phrases"}, "test").expressions);
}

}  // namespace
}  // namespace deepsearch
