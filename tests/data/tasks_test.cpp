// What every embedded task promises.
#include <limits>
#include <map>
#include <set>
#include <unordered_set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "data/task.h"
#include "data/task_testing.h"
#include "data/tasks/generated_task.h"

namespace deepsearch {
namespace {

using testing::garbage;
using ::testing::HasSubstr;
using testing::mutated;
using testing::task_named;

class EveryTask : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Task> task_ = task_named(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Tasks, EveryTask, ::testing::ValuesIn(task_names()),
                         [](const auto& which) { return which.param; });

// Saved models depend on the ids, so each vocabulary is written down once more here.
TEST(Vocabulary, IsPinned) {
  const std::map<std::string, size_t> sizes = {{"bag", 28}, {"chain", 70}, {"countdown", 58}};
  ASSERT_EQ(task_names().size(), sizes.size());
  for (const auto& [name, size] : sizes) {
    const auto task = task_named(name);
    EXPECT_EQ(task->vocabulary().size(), size) << name;
    EXPECT_EQ(task->pad_token(), 0);
    EXPECT_EQ(task->vocabulary()[0], "<pad>");
    EXPECT_EQ(task->decode(task->eos_tokens()), ".");
    const std::set<std::string> distinct(task->vocabulary().begin(), task->vocabulary().end());
    EXPECT_EQ(distinct.size(), task->vocabulary().size()) << name;
  }
  EXPECT_EQ(task_named("countdown")->decode(std::vector<Token>{1, 50, 51, 52, 53, 54, 55, 56, 57}),
            "0 49 + - * / ; . >");
  EXPECT_EQ(task_named("bag")->decode(std::vector<Token>{1, 20, 21, 22, 23, 24, 25, 26, 27}), "1 20 + - * / ; . >");
  EXPECT_EQ(task_named("chain")->decode(std::vector<Token>{1, 23, 24, 45, 46, 66, 67, 68, 69}),
            "0 22 +1 +22 *2 *22 = ; .");
}

TEST_P(EveryTask, ProblemsAreFunctionsOfTheirPlace) {
  const auto again = task_named(GetParam());
  for (uint64_t index = 0; index < 200; ++index) {
    for (const Split split : {Split::kTrain, Split::kTest}) {
      const Problem one = task_->problem(split, 199 - index);
      const Problem two = again->problem(split, 199 - index);
      EXPECT_EQ(one.id, two.id);
      EXPECT_EQ(one.prompt, two.prompt);
      EXPECT_EQ(one.answer, two.answer);
      EXPECT_EQ(one.prompt_tokens, two.prompt_tokens);
      EXPECT_EQ(one.key, two.key);
    }
  }
  TaskParams other = task_->params();
  other.seed = 2;
  EXPECT_NE(make_task(other)->problem(Split::kTrain, 0).prompt, task_->problem(Split::kTrain, 0).prompt);
}

TEST_P(EveryTask, ProblemsAreWellFormed) {
  std::set<std::string> ids;
  for (uint64_t index = 0; index < 500; ++index) {
    for (const Split split : {Split::kTrain, Split::kTest}) {
      const Problem problem = task_->problem(split, index);
      EXPECT_TRUE(ids.insert(problem.id).second) << problem.id;
      EXPECT_EQ(problem.source, GetParam());
      EXPECT_EQ(problem.prompt_tokens, task_->encode(problem.prompt));
      EXPECT_EQ(problem.prompt, task_->decode(problem.prompt_tokens));
      EXPECT_EQ(problem.key, problem_key(problem.source, problem.prompt));
      EXPECT_EQ(static_cast<int64_t>(problem.prompt_tokens.size()), task_->max_prompt_tokens());
      EXPECT_FALSE(problem.answer.empty());
      EXPECT_EQ(split_of(problem.key), split);
    }
  }
}

TEST_P(EveryTask, HeldOutProblemsAreNeverTrainedOn) {
  std::unordered_set<uint64_t> train;
  std::unordered_set<std::string> train_prompts;
  for (uint64_t index = 0; index < 10000; ++index) {
    const Problem problem = task_->problem(Split::kTrain, index);
    train.insert(problem.key);
    train_prompts.insert(problem.prompt);
    const Problem shown = task_->demonstration(index).problem;
    train.insert(shown.key);
    train_prompts.insert(shown.prompt);
  }
  EXPECT_GT(train_prompts.size(), 15000U) << "hardly any repeats";
  for (uint64_t index = 0; index < 10000; ++index) {
    const Problem problem = task_->problem(Split::kTest, index);
    ASSERT_FALSE(train.contains(problem.key)) << problem.prompt;
    ASSERT_FALSE(train_prompts.contains(problem.prompt)) << problem.prompt;
  }
}

TEST_P(EveryTask, KeyDependsOnSourceAndPromptAlone) {
  TaskParams one = task_->params();
  TaskParams two = one;
  two.confusion = 0.1;
  two.rare = 0.1;
  EXPECT_EQ(make_task(one)->problem(Split::kTest, 3).key, make_task(two)->problem(Split::kTest, 3).key);
  EXPECT_NE(problem_key("ab", "c"), problem_key("a", "bc"));
  EXPECT_NE(problem_key("a", "b"), problem_key("b", "a"));
}

TEST_P(EveryTask, DemonstrationsFitTheNaturalShape) {
  for (uint64_t index = 0; index < 500; ++index) {
    const Example example = task_->demonstration(index);
    EXPECT_EQ(split_of(example.problem.key), Split::kTrain);
    EXPECT_EQ(static_cast<int64_t>(example.solution.size()), task_->step_tokens() * task_->max_depth());
    EXPECT_EQ(example.solution.back(), task_->eos_tokens().front());
    EXPECT_EQ(task_->encode(task_->decode(example.solution)), example.solution);
    const Verdict verdict = task_->verify(example.problem, example.solution, true);
    if (GetParam() != "chain") {
      EXPECT_EQ(verdict.outcome, Outcome::kCorrect) << verdict.why;
    }
    EXPECT_NE(verdict.outcome, Outcome::kIncomplete);
    // An end of sequence as the very last allowed token is an end all the same.
    EXPECT_EQ(task_->verify(example.problem, example.solution, false).outcome, verdict.outcome);
    for (size_t length = 0; length < example.solution.size(); ++length) {
      const TokenSpan part = TokenSpan(example.solution).first(length);
      EXPECT_EQ(task_->verify(example.problem, part, false).outcome, Outcome::kIncomplete);
      EXPECT_EQ(task_->verify(example.problem, part, true).outcome, Outcome::kWrong);
      EXPECT_EQ(task_->check_step(example.problem, part), StepState::kAlive);
    }
  }
}

TEST_P(EveryTask, MixedSizesAreDrawnEvenly) {
  const auto task = task_named(GetParam(), {3, 5, 5, 7});
  std::map<size_t, int> counts;
  for (uint64_t index = 0; index < 2000; ++index) {
    const Example example = task->demonstration(index);
    ++counts[example.solution.size() / static_cast<size_t>(task->step_tokens())];
    EXPECT_LE(static_cast<int64_t>(example.problem.prompt_tokens.size()), task->max_prompt_tokens());
    EXPECT_LE(static_cast<int64_t>(example.solution.size()), task->step_tokens() * task->max_depth());
  }
  const size_t less = GetParam() == "countdown" ? 1 : 0;
  ASSERT_EQ(counts.size(), 3U);
  EXPECT_NEAR(counts[3 - less], 500, 80);
  EXPECT_NEAR(counts[5 - less], 1000, 100);
  EXPECT_NEAR(counts[7 - less], 500, 80);
}

TEST_P(EveryTask, AnyTokensAreJudgedWithoutAnError) {
  RandomStream random(7, RngPurpose::kTests, hash_text(GetParam()));
  for (uint64_t i = 0; i < 20000; ++i) {
    Problem problem = task_->problem(Split::kTrain, i % 50);
    const std::vector<Token> response = garbage(*task_, random, 60);
    if (i % 3 == 0) problem.prompt_tokens = garbage(*task_, random, 200);
    for (const bool ended : {false, true}) {
      const Verdict verdict = task_->verify(problem, response, ended);
      EXPECT_TRUE(verdict.outcome == Outcome::kWrong || (verdict.outcome == Outcome::kIncomplete && !ended));
      EXPECT_FALSE(verdict.why.empty());
    }
    EXPECT_NE(task_->check_step(problem, response), StepState::kSolved);
  }
  const Problem problem = task_->problem(Split::kTrain, 0);
  const std::vector<Token> endless(size_t{1} << 20, 3);
  EXPECT_EQ(task_->verify(problem, endless, false).outcome, Outcome::kWrong);
}

// Dead and solved are final: whatever is judged dead stays wrong, and solved means correct.
TEST_P(EveryTask, StepCheckAgreesWithTheVerdict) {
  RandomStream random(8, RngPurpose::kTests, hash_text(GetParam()));
  for (uint64_t i = 0; i < 20000; ++i) {
    const Example example = task_->demonstration(i % 100);
    const std::vector<Token> response = mutated(*task_, example.solution, random);
    const Verdict verdict = task_->verify(example.problem, response, true);
    const StepState state = task_->check_step(example.problem, response);
    if (GetParam() == "bag") {
      EXPECT_EQ(state == StepState::kSolved, verdict.outcome == Outcome::kCorrect) << task_->decode(response);
      EXPECT_EQ(state == StepState::kAlive,
                task_->verify(example.problem, response, false).outcome == Outcome::kIncomplete);
    } else {
      EXPECT_EQ(state, StepState::kAlive) << "only the final answer is judged";
    }
  }
}

TEST_P(EveryTask, WordsAreSeparatedByAnyBlanks) {
  EXPECT_EQ(task_->encode("  3\t4 \r\n . "), (task_->encode("3 4 .")));
  EXPECT_TRUE(task_->encode(" \n").empty());
  EXPECT_EQ(task_->decode(std::vector<Token>{-1, 1000}), "<-1?> <1000?>");
  try {
    task_->encode("3 cat");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    EXPECT_THAT(error.what(), HasSubstr("\"cat\" at byte 2"));
  }
}

std::string complaint(TaskParams params) {
  try {
    make_task(params);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    return error.what();
  }
  return "";
}

TEST(TaskParams, AreCheckedByName) {
  EXPECT_THAT(complaint({.name = "sudoku"}), HasSubstr("\"sudoku\"; the embedded tasks are bag, chain, countdown"));
  EXPECT_THAT(complaint({.name = "bag", .sizes = {8, 65}}),
              HasSubstr("[task].sizes: 65 is out of range; the bag task takes 1 to 64"));
  EXPECT_THAT(complaint({.name = "bag", .sizes = {0}}), HasSubstr("[task].sizes: 0"));
  EXPECT_THAT(complaint({.name = "countdown", .sizes = {13}}), HasSubstr("takes 2 to 12"));
  EXPECT_THAT(complaint({.name = "countdown", .sizes = {1}}), HasSubstr("takes 2 to 12"));
  EXPECT_THAT(complaint({.name = "chain", .sizes = {65}}), HasSubstr("takes 1 to 64"));
  EXPECT_THAT(complaint({.name = "bag", .max_number = 21}), HasSubstr("[task].max_number: 21"));
  EXPECT_THAT(complaint({.name = "countdown", .max_number = 50}), HasSubstr("takes 2 to 49"));
  EXPECT_THAT(complaint({.name = "bag", .max_number = -1}), HasSubstr("[task].max_number: -1"));
  EXPECT_THAT(complaint({.name = "countdown", .rare = 1.5}), HasSubstr("[task].rare: 1.5"));
  EXPECT_THAT(complaint({.name = "chain", .confusion = std::numeric_limits<double>::quiet_NaN()}),
              HasSubstr("[task].confusion: nan"));
  EXPECT_THAT(complaint({.name = "bag", .seed = -3}), HasSubstr("[task].seed: -3"));
}

TEST(TaskParams, DefaultsAreTheTasksOwn) {
  EXPECT_EQ(task_named("bag")->params().sizes, std::vector<int64_t>{8});
  EXPECT_EQ(task_named("bag")->params().max_number, 9);
  EXPECT_EQ(task_named("countdown")->params().sizes, std::vector<int64_t>{4});
  EXPECT_EQ(task_named("countdown")->params().max_number, 12);
  EXPECT_EQ(task_named("chain")->params().sizes, std::vector<int64_t>{10});
}

// A task with one problem only, which is either held out or not.
class OneProblem final : public GeneratedTask {
 public:
  OneProblem() : GeneratedTask({.name = "one"}, {1, 1, 1, 0, 0, 0}, {"<pad>", "a", "."}, ".") {}
  int64_t step_tokens() const override { return 1; }
  int64_t max_depth() const override { return 1; }
  int64_t max_prompt_tokens() const override { return 1; }
  Verdict verify(const Problem&, TokenSpan, bool) const override { return {}; }

 private:
  Draw draw(int64_t, bool, RandomStream&) const override { return {{1}, {2}, "."}; }
};

TEST(TaskParams, TooFewProblemsAreSaidToBeTooFew) {
  const OneProblem task;
  const Split split = split_of(problem_key("one", "a"));
  const Split other = split == Split::kTest ? Split::kTrain : Split::kTest;
  EXPECT_EQ(task.problem(split, 3).prompt, "a");
  try {
    task.problem(other, 3);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    EXPECT_THAT(error.what(), HasSubstr("raise sizes or max_number"));
  }
  EXPECT_EQ(task.check_step(task.problem(split, 0), {}), StepState::kAlive) << "the default has no opinion";
}

struct Pin {
  const char* task;
  const char* test_problem;
  const char* train_problem;
  const char* demonstration;
};

// The same knobs give the same problems in every version: results can only be compared if they do.
TEST(Golden, ProblemsAreTheSameInEveryVersion) {
  const Pin pins[] = {
      {"bag", "1 9 1 8 2 6 9 4 7 + + + - - - * * >", "7 8 6 1 5 4 9 6 7 + + + - - - - * >",
       "5 8 2 4 6 1 6 6 6 + - - - - * * / > "
       "8 - 6 2 ; 6 * 2 12 ; 6 / 1 6 ; 12 + 4 16 ; 6 - 2 4 ; 16 - 6 10 ; 5 - 4 1 ; 10 * 1 10 ."},
      {"chain", "*18 *11 +5 +22 *21 +6 +11 *21 *9 *16 = 3", "+2 *10 +8 *7 +12 *12 *7 *5 +6 *19 = 5",
       "+12 +22 *20 +8 +3 +11 +17 *3 *14 +22 = 5 "
       "+12 17 ; +22 16 ; *20 21 ; +8 6 ; +3 9 ; +11 8 ; +17 2 ; *3 6 ; *14 15 ; +22 14 ."},
      {"countdown", "3 6 7 12 > 21", "1 2 9 1 > 4", "5 2 2 4 > 38 5 * 2 10 ; 10 * 4 40 ; 40 - 2 38 ."},
  };
  for (const Pin& pin : pins) {
    const auto task = task_named(pin.task);
    const Example shown = task->demonstration(2);
    EXPECT_EQ(task->problem(Split::kTest, 0).prompt, pin.test_problem);
    EXPECT_EQ(task->problem(Split::kTrain, 1000000).prompt, pin.train_problem);
    EXPECT_EQ(shown.problem.prompt + " " + task->decode(shown.solution), pin.demonstration);
  }
  EXPECT_EQ(problem_key("bag", "5 3 4 + * >"), 17144546876659288046U);
}

TEST(Split, OneProblemInEightIsHeldOut) {
  EXPECT_EQ(split_of(0), Split::kTest);
  EXPECT_EQ(split_of(7), Split::kTrain);
  EXPECT_EQ(split_of(8), Split::kTest);
  int held_out = 0;
  for (int i = 0; i < 8000; ++i) {
    if (split_of(problem_key("bag", std::to_string(i))) == Split::kTest) ++held_out;
  }
  EXPECT_NEAR(held_out, 1000, 120);
}

}  // namespace
}  // namespace deepsearch
