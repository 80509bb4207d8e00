#include "verify/task_verifier.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace deepsearch {
namespace {

TEST(TaskVerifier, SaysWhatTheTaskSays) {
  for (const std::string& name : task_names()) {
    const std::shared_ptr<const Task> task = make_task({.name = name, .confusion = 0});
    const TaskVerifier task_verifier(task);
    const Verifier& verifier = task_verifier;
    const Example example = task->demonstration(0);
    const TokenSpan whole = example.solution;
    EXPECT_EQ(verifier.verify(example.problem, whole, true).outcome, Outcome::kCorrect);
    EXPECT_EQ(verifier.verify(example.problem, whole.first(3), true).outcome, Outcome::kWrong);
    EXPECT_EQ(verifier.verify(example.problem, whole.first(3), false).outcome, Outcome::kIncomplete);
    EXPECT_EQ(verifier.verify(example.problem, whole, true).extracted,
              task->verify(example.problem, whole, true).extracted);
    EXPECT_EQ(verifier.check_step(example.problem, whole.first(3)), StepState::kAlive);
    EXPECT_EQ(verifier.check_step(example.problem, whole), name == "bag" ? StepState::kSolved : StepState::kAlive);
  }
}

TEST(TaskVerifier, PassesTheStepCheckOn) {
  const std::shared_ptr<const Task> bag = make_task({.name = "bag"});
  const TaskVerifier verifier(bag);
  const Problem problem = bag->problem(Split::kTest, 0);
  EXPECT_EQ(verifier.check_step(problem, {}), StepState::kAlive);
  EXPECT_EQ(verifier.check_step(problem, bag->encode("20 + 20 20 ;")), StepState::kDead);
}

TEST(TaskVerifier, OutlivesTheCallersHandle) {
  std::shared_ptr<const Task> task = make_task({.name = "bag"});
  const Example example = task->demonstration(1);
  const TaskVerifier verifier(task);
  task.reset();
  EXPECT_EQ(verifier.verify(example.problem, example.solution, true).outcome, Outcome::kCorrect);
}

TEST(TaskVerifier, NeedsATask) {
  EXPECT_THROW(TaskVerifier(nullptr), Error);
}

}  // namespace
}  // namespace deepsearch
