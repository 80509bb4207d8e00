#include "run/verification.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "run/config.h"

namespace deepsearch {
namespace {

using testing::HasSubstr;

TEST(Verification, MathematicsReadsTheTextOfTheTasksWords) {
  const std::shared_ptr<const Task> task = make_task({.name = "chain", .confusion = 0});
  const Example example = task->demonstration(0);
  const auto own = make_verifier({}, task);
  const auto math = make_verifier({.judge = Judge::kMathematics, .extract = {"numbers"}}, task);
  const auto boxes = make_verifier({.judge = Judge::kMathematics}, task);
  EXPECT_EQ(own->verify(example.problem, example.solution, true).outcome, Outcome::kCorrect);
  EXPECT_EQ(math->verify(example.problem, example.solution, true).outcome, Outcome::kCorrect);
  EXPECT_EQ(boxes->verify(example.problem, example.solution, true).outcome, Outcome::kWrong);
  EXPECT_EQ(boxes->verify(example.problem, example.solution, false).outcome, Outcome::kIncomplete);
  Problem other = example.problem;
  other.answer = "99";
  EXPECT_EQ(math->verify(other, example.solution, true).outcome, Outcome::kWrong);
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
