// countdown: make the target from all the numbers. Only the final answer is judged.
//
//   prompt  3 7 2 5 > 22        (k numbers, the target)
//   answer  7 * 2 14 ; 14 + 5 19 ; 19 + 3 22 .
//
// k − 1 lines `a o b c` with 0 ≤ c ≤ 49 and exact divisions. The generator plays at random, so every problem has a
// solution; with `rare` < 1 demonstrations seldom show × and ÷, while problems need them as often as ever.
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "data/tasks/generated_task.h"
#include "data/tasks/line_game.h"

namespace deepsearch {

namespace {

constexpr LineGame kGame{.low = 0, .high = 49};
constexpr TaskTraits kTraits{.default_size = 4,
                             .min_size = 2,
                             .max_size = 12,
                             .default_max_number = 12,
                             .min_max_number = 2,
                             .max_max_number = 49};

struct Question {
  Board board;
  int64_t target = 0;
};

std::optional<Question> read_prompt(TokenSpan prompt) {
  if (prompt.size() < 4 || prompt.size() > static_cast<size_t>(kTraits.max_size + 2)) return std::nullopt;
  if (prompt[prompt.size() - 2] != kGame.arrow()) return std::nullopt;
  Question question;
  const auto target = kGame.as_number(prompt.back());
  if (!target) return std::nullopt;
  question.target = *target;
  for (const Token token : prompt.first(prompt.size() - 2)) {
    const auto number = kGame.as_number(token);
    if (!number) return std::nullopt;
    ++question.board.numbers[static_cast<size_t>(*number)];
  }
  question.board.lines = static_cast<int64_t>(prompt.size()) - 3;
  return question;
}

class Countdown final : public GeneratedTask {
 public:
  explicit Countdown(const TaskParams& params) : GeneratedTask(params, kTraits, kGame.words(), ".") {}

  int64_t step_tokens() const override { return kLineTokens; }
  int64_t max_depth() const override { return largest_size() - 1; }
  int64_t max_prompt_tokens() const override { return largest_size() + 2; }

  Verdict verify(const Problem& problem, TokenSpan response, bool ended) const override {
    const std::optional<Question> question = read_prompt(problem.prompt_tokens);
    if (!question) return {Outcome::kWrong, "", "the problem's prompt is malformed"};
    const int64_t lines = question->board.lines;
    const bool stopped = std::find(response.begin(), response.end(), kGame.stop()) != response.end();
    if (!stopped && !ended && static_cast<int64_t>(response.size()) < lines * kLineTokens) {
      return {Outcome::kIncomplete, "",
              fmt::format("cut off in line {} of {}", response.size() / kLineTokens + 1, lines)};
    }
    Replay seen = replay(kGame, question->board, response);
    Verdict verdict{Outcome::kWrong, seen.result < 0 ? "" : std::to_string(seen.result), std::move(seen.why)};
    switch (seen.state) {
      case Replay::State::kIllegal:
        break;
      case Replay::State::kPlaying:
        verdict.why = fmt::format("ended after {} of {} lines", seen.legal_lines, lines);
        break;
      case Replay::State::kFinished:
        if (seen.result == question->target) {
          verdict.outcome = Outcome::kCorrect;
          verdict.why = "reaches the target";
        } else {
          verdict.why = fmt::format("reaches {}, not {}", seen.result, question->target);
        }
        break;
    }
    return verdict;
  }

 private:
  Draw draw(int64_t size, bool demonstration, RandomStream& random) const override {
    Draw made;
    std::vector<int64_t> numbers;
    for (int64_t i = 0; i < size; ++i) {
      numbers.push_back(random.between(1, params().max_number));
      made.prompt.push_back(kGame.number_token(numbers.back()));
    }
    while (numbers.size() > 1) {
      const Move move = play_random_move(kGame, numbers, demonstration ? params().rare : 1.0, random);
      append_line(kGame, move, numbers.size() == 1, made.solution);
    }
    const int64_t target = numbers.front();
    if (target == 0) return {};  // the target is 1 … 49
    made.prompt.push_back(kGame.arrow());
    made.prompt.push_back(kGame.number_token(target));
    made.answer = std::to_string(target);
    return made;
  }
};

}  // namespace

std::unique_ptr<Task> make_countdown_task(const TaskParams& params);
std::unique_ptr<Task> make_countdown_task(const TaskParams& params) {
  return std::make_unique<Countdown>(params);
}

}  // namespace deepsearch
