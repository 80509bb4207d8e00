#include "run/verification.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "run/config.h"
#include "run/domain.h"

namespace deepsearch {
namespace {

using testing::HasSubstr;

TEST(Verification, MathematicsReadsTheTextOfTheTasksWords) {
  const std::shared_ptr<const Task> task = make_task({.name = "chain", .confusion = 0});
  const Example example = task->demonstration(0);
  const Domain domain{.task = task, .language = task};
  const auto own = make_verifier({}, domain);
  const auto math = make_verifier({.judge = Judge::kMathematics, .extract = {"numbers"}}, domain);
  const auto boxes = make_verifier({.judge = Judge::kMathematics}, domain);
  EXPECT_EQ(own->verify(example.problem, example.solution, true).outcome, Outcome::kCorrect);
  EXPECT_EQ(math->verify(example.problem, example.solution, true).outcome, Outcome::kCorrect);
  EXPECT_EQ(boxes->verify(example.problem, example.solution, true).outcome, Outcome::kWrong);
  EXPECT_EQ(boxes->verify(example.problem, example.solution, false).outcome, Outcome::kIncomplete);
  Problem other = example.problem;
  other.answer = "99";
  EXPECT_EQ(math->verify(other, example.solution, true).outcome, Outcome::kWrong);
}

TEST(Verification, AnswersAreComparedAsTheyAreJudged) {
  const std::shared_ptr<const Task> task = make_task({.name = "chain", .confusion = 0});
  const Domain domain{.task = task, .language = task};
  const SameAnswer own = make_same_answer({.judge = Judge::kTask}, domain);
  const SameAnswer math = make_same_answer({.judge = Judge::kMathematics, .extract = {"numbers"}}, domain);
  EXPECT_FALSE(own({}, "1/2", "0.5"));
  EXPECT_TRUE(own({}, "1/2", "1/2"));
  EXPECT_TRUE(math({}, "1/2", "0.5"));
  EXPECT_FALSE(math({}, "1/2", "0.6"));
}

TEST(Verification, TheDefaultGoesByTheTask) {
  EXPECT_EQ(read_config_text("", "t", {}).verify.judge, Judge::kTask);
  const Config text = read_config_text("[task]\nname = \"text\"\n[search]\nstep_tokens = 0\nmax_depth = 0\n", "t", {});
  EXPECT_EQ(text.verify.judge, Judge::kMathematics);
  EXPECT_EQ(text.search.step_tokens, 256);
  EXPECT_EQ(text.search.max_depth, 64);
}

TEST(Verification, IsPartOfTheConfig) {
  const Config config =
      read_config_text("[verify]\njudge = \"mathematics\"\nextract = [\"boxed\", \"numbers\"]\n", "t", {});
  EXPECT_EQ(config.verify.judge, Judge::kMathematics);
  EXPECT_EQ(read_config_text(config_text(config), "t", {}).verify.extract, config.verify.extract);
  const auto message = [](const std::string& text) -> std::string {
    try {
      read_config_text(text, "t", {});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message("[verify]\nextract = [\"box\"]\n"), HasSubstr("\"box\" is unknown"));
  EXPECT_THAT(message("[verify]\njudge = \"mathematics\"\n"), HasSubstr("write no \\boxed"));
}

}  // namespace
}  // namespace deepsearch
