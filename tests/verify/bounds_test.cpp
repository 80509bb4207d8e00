// The work of a verdict, counted, on texts made to be slow.
#include <string>

#include <gtest/gtest.h>

#include "verify/expression.h"
#include "verify/math_verifier.h"
#include "verify/scan.h"

namespace deepsearch {
namespace {

constexpr size_t kLong = size_t{1} << 20;

std::string repeated(const std::string& piece, size_t bytes) {
  std::string out;
  out.reserve(bytes);
  while (out.size() + piece.size() <= bytes) out += piece;
  return out;
}

TEST(Bounds, LongTextsOfEveryPattern) {
  const MathVerifier verifier;
  int64_t most = 0;
  for (const char* const piece :
       {"$",      "$ $",      "$\n$",    "$1$",       "\\)",      "\\]",         "\\( \\)",
        "{",      "\\boxed{", "\\boxed", "\\boxed{}", "\\fbox",   "answer is $", "answer is 1a ",
        "#### $", "####",     "\\frac{", "<think>",   "</think>", "1",           "1 ",
        "1, ",    "(",        "not 1",   "$x$ or "}) {
    for (const char* const end : {"", "5", "\\boxed{5}", "</think>"}) {
      VerdictWork work;
      verifier.verify("\\sqrt{2}+x", repeated(piece, kLong) + end, true, &work);
      most = std::max(most, work.scanned);
      EXPECT_LE(work.scanned, math::Scan::kBudget + static_cast<int64_t>(kLong)) << piece << end;
      EXPECT_LE(work.steps, math::Limits{}.steps) << piece << end;
    }
  }
  EXPECT_GT(most, static_cast<int64_t>(kLong));  // it is counted
}

// Twice the text takes about twice the work: nothing is quadratic.
TEST(Bounds, WorkGrowsLikeTheText) {
  const MathVerifier verifier;
  for (const char* const piece : {"\\)", "$", "\\boxed{", "answer ", "####", "1 ", "\\frac{"}) {
    VerdictWork half;
    VerdictWork whole;
    verifier.verify("5", repeated(piece, kLong / 4), true, &half);
    verifier.verify("5", repeated(piece, kLong / 2), true, &whole);
    EXPECT_LE(whole.scanned, 2 * half.scanned + 1000) << piece;
  }
}

TEST(Bounds, ExpensiveFunctionsAreCharged) {
  std::string gold = "1";
  std::string answer = "1";
  for (int k = 2; k < 200; ++k) {
    const std::string root = "+\\arctan((\\sqrt{" + std::to_string(k);
    gold += root + "})!)";
    answer += root + "}+10^{-90})!)";
  }
  VerdictWork work;
  MathVerifier().verify(gold, "\\boxed{" + answer + "}", true, &work);
  EXPECT_EQ(work.steps, math::Limits{}.steps);  // all are spent, none more
}

// Each \text inside another goes through its text again.
TEST(Bounds, NestedTextIsComparedAsText) {
  const std::string answer = repeated("\\text{", 6 * 9000) + "5" + std::string(9000, '}');
  EXPECT_FALSE(MathVerifier().reads(answer));
  EXPECT_TRUE(MathVerifier().reads("\\text{\\text{\\text{5}}}"));
}

}  // namespace
}  // namespace deepsearch
