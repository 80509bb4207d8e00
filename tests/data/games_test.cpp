// The rules of bag and countdown, case by case, and against a second, slower player.
#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/task.h"
#include "data/task_testing.h"

namespace deepsearch {
namespace {

using ::testing::HasSubstr;
using testing::problem_of;
using testing::task_named;

struct Case {
  const char* response;
  Outcome outcome;
  const char* extracted;
  const char* why;
  StepState state = StepState::kAlive;  // of the same tokens, unfinished
};

void check_cases(const Task& task, const Problem& problem, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const std::vector<Token> response = task.encode(c.response);
    const Verdict verdict = task.verify(problem, response, true);
    EXPECT_EQ(verdict.outcome, c.outcome) << c.response << ": " << verdict.why;
    EXPECT_EQ(verdict.extracted, c.extracted) << c.response;
    EXPECT_THAT(verdict.why, HasSubstr(c.why)) << c.response;
    EXPECT_EQ(task.check_step(problem, response), c.state) << c.response;
  }
}

TEST(Bag, JudgesEachRule) {
  const auto task = task_named("bag");
  check_cases(
      *task, problem_of(*task, "5 3 4 + * >"),
      {
          {"3 * 4 12 ; 12 + 5 17 .", Outcome::kCorrect, "17", "every line is legal", StepState::kSolved},
          {"4 * 3 12 ; 5 + 12 17 .", Outcome::kCorrect, "17", "every line is legal", StepState::kSolved},
          {"3 + 5 8 ; 4 + 8 12 .", Outcome::kWrong, "8", "line 2: + is not left", StepState::kDead},
          {"5 - 3 2 ;", Outcome::kWrong, "", "line 1: - is not left", StepState::kDead},
          {"3 * 3 9 ;", Outcome::kWrong, "", "line 1: 3 is not left", StepState::kDead},
          {"3 * 2 6 ;", Outcome::kWrong, "", "line 1: 2 is not left", StepState::kDead},
          {"3 * 4 13 ;", Outcome::kWrong, "", "line 1: 3 * 4 is 12, not 13", StepState::kDead},
          {"5 * 4 20 ; 20 + 3 20 .", Outcome::kWrong, "20", "line 2: 20 + 3 is 23, not 20", StepState::kDead},
          {"5 + 4 9 ;", Outcome::kWrong, "9", "ended after 1 of 2 lines", StepState::kAlive},
          {"", Outcome::kWrong, "", "ended after 0 of 2 lines", StepState::kAlive},
          {"3 * 4 12 .", Outcome::kWrong, "", "line 1: the answer ends too early", StepState::kDead},
          {"3 * 4 12 ; 12 + 5 17 ;", Outcome::kWrong, "12", "line 2: ends with ; instead of .", StepState::kDead},
          {"3 * 4 12 ; 12 .", Outcome::kWrong, "12", "line 2: the answer ends in mid-line", StepState::kDead},
          {".", Outcome::kWrong, "", "line 1: the answer ends in mid-line", StepState::kDead},
          {"3 * 4 12 ; 12 + 5 17 . .", Outcome::kWrong, "17", "goes on after the end", StepState::kDead},
          {"3 * 4 12 12", Outcome::kWrong, "", "line 1: ends with 12 instead of ;", StepState::kDead},
          {"* 3 4 12 ;", Outcome::kWrong, "", "line 1: * is no number", StepState::kDead},
          {"3 4 * 12 ;", Outcome::kWrong, "", "line 1: 4 is no operator", StepState::kDead},
          {"3 * <pad> 12 ;", Outcome::kWrong, "", "line 1: <pad> is no number", StepState::kDead},
          {"3 * 4 > ;", Outcome::kWrong, "", "line 1: > is no number", StepState::kDead},
      });
  check_cases(*task, problem_of(*task, "9 4 2 - / >"),
              {
                  {"4 / 2 2 ; 9 - 2 7 .", Outcome::kCorrect, "7", "", StepState::kSolved},
                  {"9 / 2 4 ;", Outcome::kWrong, "", "9 / 2 is not exact", StepState::kDead},
                  {"2 / 4 2 ;", Outcome::kWrong, "", "2 / 4 is not exact", StepState::kDead},
                  {"4 - 9 5 ;", Outcome::kWrong, "", "4 - 9 is -5, not 5", StepState::kDead},
                  {"2 - 2 2 ;", Outcome::kWrong, "", "2 is not left", StepState::kDead},
              });
}

TEST(Bag, CutOffIsIncompleteWhileItIsLegal) {
  const auto task = task_named("bag");
  const Problem problem = problem_of(*task, "5 3 4 + * >");
  const auto outcome = [&](const char* text) { return task->verify(problem, task->encode(text), false).outcome; };
  EXPECT_EQ(outcome(""), Outcome::kIncomplete);
  EXPECT_EQ(outcome("3 * 4"), Outcome::kIncomplete);
  EXPECT_EQ(outcome("3 * 4 12 ; 17"), Outcome::kIncomplete);
  EXPECT_EQ(outcome("3 * 4 13 ;"), Outcome::kWrong);
  EXPECT_EQ(outcome("3 * 4 12 ; 12 + 5 17 ;"), Outcome::kWrong);
  EXPECT_EQ(outcome("3 * 4 12 ; 12 + 5 17 ."), Outcome::kCorrect);
}

TEST(Bag, MalformedPromptsAreNeverRight) {
  const auto task = task_named("bag");
  for (const char* const prompt :
       {"", ">", "5 3", "5 3 4 + * *", "5 3 4 + * ;", "5 3 + 4 * >", "5 3 4 + >", "5 + * >"}) {
    const Problem problem = problem_of(*task, prompt);
    EXPECT_THAT(task->verify(problem, task->encode("3 * 4 12 ; 12 + 5 17 ."), true).why, HasSubstr("malformed"))
        << prompt;
    EXPECT_EQ(task->check_step(problem, {}), StepState::kDead) << prompt;
  }
}

// The slower player: lists of numbers and operators, words instead of ids, every legal line tried.
struct Table {
  std::vector<int> numbers;
  std::string operators;
};

std::optional<Table> play(const Table& table, int a, char op, int b, int c) {
  Table next = table;
  for (const int number : {a, b}) {
    const auto found = std::find(next.numbers.begin(), next.numbers.end(), number);
    if (found == next.numbers.end()) return std::nullopt;
    next.numbers.erase(found);
  }
  const size_t place = next.operators.find(op);
  if (place == std::string::npos) return std::nullopt;
  next.operators.erase(place, 1);
  const bool right = op == '+' ? a + b == c : op == '-' ? a - b == c : op == '*' ? a * b == c : c * b == a;
  if (!right || c < 1 || c > 20) return std::nullopt;
  next.numbers.push_back(c);
  return next;
}

void all_answers(const Table& table, const std::string& so_far, std::set<std::string>& answers) {
  for (const int a : std::set<int>(table.numbers.begin(), table.numbers.end())) {
    for (const char op : {'+', '-', '*', '/'}) {
      for (int b = 1; b <= 20; ++b) {
        for (int c = 1; c <= 20; ++c) {
          const auto next = play(table, a, op, b, c);
          if (!next) continue;
          const bool last = next->operators.empty();
          const std::string line = fmt::format("{}{} {} {} {} {}", so_far, a, op, b, c, last ? "." : ";");
          if (last) {
            answers.insert(line);
          } else {
            all_answers(*next, line + " ", answers);
          }
        }
      }
    }
  }
}

TEST(Bag, AgreesWithASecondPlayer) {
  const auto task = task_named("bag", {2, 3});
  for (uint64_t index = 0; index < 6; ++index) {
    const Problem problem = task->problem(Split::kTrain, index);
    Table table;
    for (const Token token : problem.prompt_tokens) {
      const std::string word = task->decode(TokenSpan(&token, 1));
      if (word == ">") continue;
      if (std::isdigit(word[0]) != 0) {
        table.numbers.push_back(std::stoi(word));
      } else {
        table.operators += word;
      }
    }
    std::set<std::string> answers;
    all_answers(table, "", answers);
    ASSERT_FALSE(answers.empty()) << problem.prompt;
    std::set<std::string> first_lines;  // of all answers
    for (const std::string& answer : answers) {
      const std::vector<Token> tokens = task->encode(answer);
      EXPECT_EQ(task->verify(problem, tokens, true).outcome, Outcome::kCorrect) << problem.prompt << " " << answer;
      EXPECT_EQ(task->check_step(problem, tokens), StepState::kSolved);
      for (size_t length = 0; length < tokens.size(); ++length) {
        EXPECT_EQ(task->check_step(problem, TokenSpan(tokens).first(length)), StepState::kAlive);
      }
      first_lines.insert(answer.substr(0, answer.find(';') + 1));
    }
    // Every line there is: alive iff legal; no answer begins with a dead one.
    for (int a = 1; a <= 20; ++a) {
      for (const char op : {'+', '-', '*', '/'}) {
        for (int b = 1; b <= 20; ++b) {
          for (int c = 1; c <= 20; ++c) {
            const std::string line = fmt::format("{} {} {} {} ;", a, op, b, c);
            const StepState state = task->check_step(problem, task->encode(line));
            ASSERT_EQ(state, play(table, a, op, b, c) ? StepState::kAlive : StepState::kDead)
                << problem.prompt << " " << line;
            ASSERT_FALSE(state == StepState::kDead && first_lines.contains(line)) << problem.prompt << " " << line;
          }
        }
      }
    }
    // Nothing else is right: near misses of the answers.
    RandomStream random(index, RngPurpose::kTests, 1);
    for (int i = 0; i < 2000; ++i) {
      const auto& answer = *std::next(answers.begin(), static_cast<std::ptrdiff_t>(random.below(answers.size())));
      const std::vector<Token> near = testing::mutated(*task, task->encode(answer), random);
      EXPECT_EQ(task->verify(problem, near, true).outcome == Outcome::kCorrect, answers.contains(task->decode(near)));
    }
  }
}

TEST(Bag, ProblemsAreRandomLegalPlays) {
  TaskParams params{.name = "bag", .sizes = {16}, .max_number = 9};
  const auto task = make_task(params);
  std::array<int, 4> operators{};
  std::array<int, 10> numbers{};
  for (uint64_t index = 0; index < 2000; ++index) {
    const Problem problem = task->problem(Split::kTest, index);
    const std::vector<Token>& prompt = problem.prompt_tokens;
    ASSERT_EQ(prompt.size(), 34U);
    for (size_t i = 0; i < 17; ++i) {
      ASSERT_TRUE(prompt[i] >= 1 && prompt[i] <= 9);
      ++numbers[static_cast<size_t>(prompt[i])];
    }
    ASSERT_TRUE(std::is_sorted(prompt.begin() + 17, prompt.end())) << problem.prompt;
    for (size_t i = 17; i < 33; ++i) ++operators[static_cast<size_t>(prompt[i] - 21)];
    // The stored answer is one that is right.
    EXPECT_EQ(task->verify(problem, task->encode(problem.answer), true).outcome, Outcome::kCorrect);
  }
  for (int number = 1; number <= 9; ++number) EXPECT_NEAR(numbers[static_cast<size_t>(number)], 34000 / 9, 300);
  for (const int count : operators) EXPECT_GT(count, 2000);
}

TEST(Countdown, JudgesEachRule) {
  const auto task = task_named("countdown");
  check_cases(*task, problem_of(*task, "3 7 2 > 17"),
              {
                  {"7 * 2 14 ; 14 + 3 17 .", Outcome::kCorrect, "17", "reaches the target"},
                  {"2 * 7 14 ; 3 + 14 17 .", Outcome::kCorrect, "17", "reaches the target"},
                  {"7 + 2 9 ; 9 + 3 12 .", Outcome::kWrong, "12", "reaches 12, not 17"},
                  {"7 + 2 9 ; 9 + 3 17 .", Outcome::kWrong, "9", "line 2: 9 + 3 is 12, not 17"},
                  {"7 * 2 14 ; 14 + 2 16 .", Outcome::kWrong, "14", "line 2: 2 is not left"},
                  {"7 * 2 14 ; 14 + 4 18 .", Outcome::kWrong, "14", "line 2: 4 is not left"},
                  {"7 * 2 14 .", Outcome::kWrong, "", "line 1: the answer ends too early"},
                  {"7 * 2 14 ;", Outcome::kWrong, "14", "ended after 1 of 2 lines"},
                  {"7 * 2 14 ; 14 + 3 17 ;", Outcome::kWrong, "14", "line 2: ends with ; instead of ."},
                  {"7 * 2 14 ; 14 + 3 17 . 3", Outcome::kWrong, "17", "goes on after the end"},
                  {"7 / 2 3 ; 3 + 3 6 .", Outcome::kWrong, "", "line 1: 7 / 2 is not exact"},
                  {"7 - 7 0 ; 0 + 3 3 .", Outcome::kWrong, "", "line 1: 7 is not left"},
                  {"> 7 2 ; . 1", Outcome::kWrong, "", "line 1: > is no number"},
              });
  check_cases(*task, problem_of(*task, "3 3 5 > 5"),
              {
                  {"3 - 3 0 ; 5 - 0 5 .", Outcome::kCorrect, "5", ""},
                  {"3 - 3 0 ; 5 / 0 5 .", Outcome::kWrong, "0", "line 2: 5 / 0 is not exact"},
                  {"3 - 3 0 ; 0 / 5 0 .", Outcome::kWrong, "0", "reaches 0, not 5"},
              });
}

TEST(Countdown, OnlyTheFinalAnswerIsJudged) {
  const auto task = task_named("countdown");
  const Problem problem = problem_of(*task, "3 7 2 > 17");
  const auto outcome = [&](const char* text) { return task->verify(problem, task->encode(text), false).outcome; };
  EXPECT_EQ(outcome(""), Outcome::kIncomplete);
  EXPECT_EQ(outcome("9 * 9 9 ; 1"), Outcome::kIncomplete) << "cut off: no answer can be read";
  EXPECT_EQ(outcome("7 * 2 14 ; 14 + 3 17 ;"), Outcome::kWrong) << "as long as an answer, and none";
  EXPECT_EQ(outcome("7 * 2 14 ; 14 + 3 17 ."), Outcome::kCorrect);
  for (const char* const prompt : {"", "3 7 2 17", "3 > 3", "3 7 > ;", "3 + 7 > 10", "> 7"}) {
    EXPECT_THAT(task->verify(problem_of(*task, prompt), task->encode("3 + 7 10 ."), true).why, HasSubstr("malformed"))
        << prompt;
  }
}

TEST(Countdown, ProblemsHaveTheSizesAsked) {
  const auto task = make_task({.name = "countdown", .sizes = {3}, .max_number = 20});
  std::set<Token> numbers;
  for (uint64_t index = 0; index < 2000; ++index) {
    const std::vector<Token> prompt = task->problem(Split::kTrain, index).prompt_tokens;
    ASSERT_EQ(prompt.size(), 5U);
    for (size_t i = 0; i < 3; ++i) numbers.insert(prompt[i] - 1);
    EXPECT_TRUE(prompt[4] - 1 >= 1 && prompt[4] - 1 <= 49);
  }
  EXPECT_EQ(*numbers.begin(), 1);
  EXPECT_EQ(*numbers.rbegin(), 20);
}

TEST(Countdown, RareKeepsProductsOutOfDemonstrations) {
  const auto share_of_products = [](double rare) {
    const auto task = make_task({.name = "countdown", .sizes = {3}, .rare = rare});
    int products = 0;
    for (uint64_t index = 0; index < 2000; ++index) {
      for (const Token token : task->demonstration(index).solution) {
        const std::string word = task->decode(TokenSpan(&token, 1));
        if (word == "*" || word == "/") ++products;
      }
    }
    return products / 4000.0;
  };
  const double usual = share_of_products(1);
  EXPECT_GT(usual, 0.2);
  EXPECT_NEAR(share_of_products(0.1), 0.1 * usual, 0.02);
  EXPECT_EQ(share_of_products(0), 0);
  // Problems are the same whatever demonstrations show.
  const auto rare = make_task({.name = "countdown", .rare = 0});
  const auto common = task_named("countdown");
  for (uint64_t index = 0; index < 50; ++index) {
    EXPECT_EQ(rare->problem(Split::kTrain, index).prompt, common->problem(Split::kTrain, index).prompt);
  }
}

}  // namespace
}  // namespace deepsearch
