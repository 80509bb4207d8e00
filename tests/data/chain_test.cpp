#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/task.h"
#include "data/task_testing.h"

namespace deepsearch {
namespace {

using ::testing::HasSubstr;
using testing::problem_of;
using testing::task_named;

// One operation in words ("+5", "*12"), independent of the task's ids.
int calculate(int value, const std::string& operation) {
  const int number = std::stoi(operation.substr(1));
  return (operation[0] == '+' ? value + number : value * number) % 23;
}

struct Fact {
  int value;
  std::string operation;
  auto operator<=>(const Fact&) const = default;
};

// How often each value was shown for each fact in the first `count` demonstrations.
std::map<Fact, std::map<int, int>> shown_facts(const Task& task, uint64_t count) {
  std::map<Fact, std::map<int, int>> shown;
  for (uint64_t index = 0; index < count; ++index) {
    const Example example = task.demonstration(index);
    int value = std::stoi(task.decode(TokenSpan(example.problem.prompt_tokens).last(1)));
    for (size_t i = 0; i + 2 < example.solution.size(); i += 3) {
      const std::string operation = task.decode(TokenSpan(example.solution).subspan(i, 1));
      const int next = std::stoi(task.decode(TokenSpan(example.solution).subspan(i + 1, 1)));
      ++shown[{value, operation}][next];
      value = next;  // goes on from what was shown
    }
  }
  return shown;
}

TEST(Chain, JudgesTheFinalValueAndTheForm) {
  const auto task = task_named("chain");
  const Problem problem = problem_of(*task, "+5 *2 +22 = 7");  // 12, 1, 0
  const auto judge = [&](const char* text, bool ended = true) {
    return task->verify(problem, task->encode(text), ended);
  };
  const Verdict right = judge("+5 12 ; *2 1 ; +22 0 .");
  EXPECT_EQ(right.outcome, Outcome::kCorrect);
  EXPECT_EQ(right.extracted, "0");
  EXPECT_EQ(judge("+5 3 ; *2 4 ; +22 0 .").outcome, Outcome::kCorrect) << "what is in between is free";
  const Verdict wrong = judge("+5 12 ; *2 1 ; +22 1 .");
  EXPECT_EQ(wrong.outcome, Outcome::kWrong);
  EXPECT_EQ(wrong.extracted, "1");
  EXPECT_THAT(wrong.why, HasSubstr("the final value is 1, not 0"));

  struct Case {
    const char* response;
    const char* why;
  };
  for (const Case& c :
       {Case{"", "ended after 0 of 9 tokens"}, Case{"+5 12 ; *2 1 ; +22 0", "ended after 8 of 9 tokens"},
        Case{"+5 12 .", "step 1: the answer ends too early"}, Case{"0 .", "step 1: 0 is no operation"},
        Case{"+5 *2 ;", "step 1: *2 is no value"}, Case{"+5 12 12", "step 1: ends with 12 instead of ;"},
        Case{"+5 12 ; *2 1 ; +22 0 ;", "step 3: ends with ; instead of ."},
        Case{"+5 12 ; *2 1 ; +22 0 . .", "goes on after the end"},
        Case{"+5 12 ; *2 1 ; +22 = .", "step 3: = is no value"}}) {
    const Verdict verdict = judge(c.response);
    EXPECT_EQ(verdict.outcome, Outcome::kWrong) << c.response;
    EXPECT_EQ(verdict.extracted, "") << c.response;
    EXPECT_THAT(verdict.why, HasSubstr(c.why)) << c.response;
  }
  EXPECT_EQ(judge("", false).outcome, Outcome::kIncomplete);
  EXPECT_EQ(judge("+5 12 ; *2 1", false).outcome, Outcome::kIncomplete);
  EXPECT_EQ(judge("+5 12 ; *2 1 ; +22 0 ;", false).outcome, Outcome::kWrong);
  EXPECT_EQ(judge("+5 12 .", false).outcome, Outcome::kWrong) << "it ended, whatever the caller says";
  EXPECT_EQ(judge("+5 12 ; *2 1 ; +22 0 .", false).outcome, Outcome::kCorrect);
  for (const char* const prompt : {"", "= 7", "+5 7", "+5 = +5", "+5 3 = 7", "+5 = ="}) {
    EXPECT_THAT(task->verify(problem_of(*task, prompt), task->encode("+5 12 ."), true).why, HasSubstr("malformed"))
        << prompt;
  }
}

TEST(Chain, TheAnswerIsTheTrueValue) {
  const auto task = task_named("chain");
  for (uint64_t index = 0; index < 500; ++index) {
    const Example example = task->demonstration(index);
    const std::vector<Token>& prompt = example.problem.prompt_tokens;
    int value = std::stoi(task->decode(TokenSpan(prompt).last(1)));
    for (size_t i = 0; i + 2 < prompt.size(); ++i) {
      value = calculate(value, task->decode(TokenSpan(prompt).subspan(i, 1)));
      EXPECT_EQ(example.solution[3 * i], prompt[i]) << "operations are copied";
    }
    EXPECT_EQ(example.problem.answer, std::to_string(value));
    const Verdict verdict = task->verify(example.problem, example.solution, true);
    EXPECT_EQ(verdict.outcome == Outcome::kCorrect, verdict.extracted == example.problem.answer);
  }
}

TEST(Chain, WithoutConfusionDemonstrationsAreRight) {
  const auto task = make_task({.name = "chain", .confusion = 0});
  for (uint64_t index = 0; index < 1000; ++index) {
    const Example example = task->demonstration(index);
    EXPECT_EQ(task->verify(example.problem, example.solution, true).outcome, Outcome::kCorrect);
  }
}

TEST(Chain, HalfOfTheFactsHaveOneFixedWrongValue) {
  const auto task = task_named("chain");
  size_t confused = 0;
  int steps = 0;
  int right_steps = 0;
  const auto shown = shown_facts(*task, 20000);
  ASSERT_EQ(shown.size(), 23U * 43U) << "every fact comes up";
  for (const auto& [fact, values] : shown) {
    const int truth = calculate(fact.value, fact.operation);
    ASSERT_TRUE(values.contains(truth) || values.size() == 1);
    EXPECT_LE(values.size(), 2U) << fact.value << " " << fact.operation;
    if (values.size() > 1) ++confused;
    for (const auto& [value, count] : values) {
      steps += count;
      if (value == truth) right_steps += count;
    }
  }
  // Half of 989 facts, less those whose probability is next to nothing.
  EXPECT_LE(confused, 494U);
  EXPECT_GE(confused, 460U);
  EXPECT_NEAR(static_cast<double>(right_steps) / steps, 0.8, 0.03);
}

TEST(Chain, ConfusionFollowsTheSeed) {
  const auto facts = [](int64_t seed) {
    const auto task = make_task({.name = "chain", .confusion = 1, .seed = seed});
    std::map<Fact, int> wrong;
    for (const auto& [fact, values] : shown_facts(*task, 5000)) {
      for (const auto& [value, count] : values) {
        if (value != calculate(fact.value, fact.operation)) wrong[fact] = value;
      }
    }
    return wrong;
  };
  const auto one = facts(1);
  EXPECT_EQ(one, facts(1));
  EXPECT_NE(one, facts(2));
  // Problems know nothing of it.
  const auto calm = make_task({.name = "chain", .confusion = 0});
  EXPECT_EQ(calm->problem(Split::kTest, 5).prompt, task_named("chain")->problem(Split::kTest, 5).prompt);
}

}  // namespace
}  // namespace deepsearch
