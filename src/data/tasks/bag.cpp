// bag: use up a bag of operators, every step checked. Like a proof checker that refuses a step.
//
//   prompt  5 3 4 + * >         (k + 1 numbers, k operators in the order + - * /)
//   answer  3 * 4 12 ; 12 + 5 17 .
//   dead    5 + 4 9 ;           (legal, but 9 * 3 is more than 20)
//
// A line `a o b c` is legal iff a and b are two numbers still there, o is left in the bag, a o b = c exactly as written
// and 1 ≤ c ≤ 20; it uses up a, b and o and adds c. An illegal line ends the episode, wrong; k legal lines are correct,
// whatever number is left. The generator is a random legal play, so every problem has a solution; dead ends are
// hidden, because what is left has to stay usable.
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "data/tasks/generated_task.h"
#include "data/tasks/line_game.h"

namespace deepsearch {

namespace {

constexpr LineGame kGame{.low = 1, .high = 20};
constexpr TaskTraits kTraits{.default_size = 8,
                             .min_size = 1,
                             .max_size = 64,
                             .default_max_number = 9,
                             .min_max_number = 2,
                             .max_max_number = 20};

std::optional<Board> read_prompt(TokenSpan prompt) {
  // k + 1 numbers, k operators and the arrow.
  if (prompt.size() < 4 || prompt.size() % 2 != 0 || prompt.size() > static_cast<size_t>(2 * kTraits.max_size + 2)) {
    return std::nullopt;
  }
  Board board;
  board.count_operators = true;
  board.lines = static_cast<int64_t>(prompt.size() / 2 - 1);
  const auto n_numbers = static_cast<size_t>(board.lines + 1);
  if (prompt.back() != kGame.arrow()) return std::nullopt;
  for (const Token token : prompt.first(n_numbers)) {
    const auto number = kGame.as_number(token);
    if (!number) return std::nullopt;
    ++board.numbers[static_cast<size_t>(*number)];
  }
  for (const Token token : prompt.subspan(n_numbers, n_numbers - 1)) {
    const auto op = kGame.as_operator(token);
    if (!op) return std::nullopt;
    ++board.operators[static_cast<size_t>(*op)];
  }
  return board;
}

class Bag final : public GeneratedTask {
 public:
  explicit Bag(const TaskParams& params) : GeneratedTask(params, kTraits, kGame.words(), ".") {}

  int64_t step_tokens() const override { return kLineTokens; }
  int64_t max_depth() const override { return largest_size(); }
  int64_t max_prompt_tokens() const override { return 2 * largest_size() + 2; }

  Verdict verify(const Problem& problem, TokenSpan response, bool ended) const override {
    const std::optional<Board> board = read_prompt(problem.prompt_tokens);
    if (!board) return {Outcome::kWrong, "", "the problem's prompt is malformed"};
    Replay seen = replay(kGame, *board, response);
    Verdict verdict{Outcome::kWrong, seen.result < 0 ? "" : std::to_string(seen.result), std::move(seen.why)};
    switch (seen.state) {
      case Replay::State::kIllegal:
        break;
      case Replay::State::kPlaying:
        if (!ended) verdict.outcome = Outcome::kIncomplete;
        verdict.why =
            fmt::format("{} after {} of {} lines", ended ? "ended" : "cut off", seen.legal_lines, board->lines);
        break;
      case Replay::State::kFinished:
        verdict.outcome = Outcome::kCorrect;
        verdict.why = "every line is legal";
        break;
    }
    return verdict;
  }

  StepState check_step(const Problem& problem, TokenSpan response) const override {
    const std::optional<Board> board = read_prompt(problem.prompt_tokens);
    if (!board) return StepState::kDead;
    switch (replay(kGame, *board, response).state) {
      case Replay::State::kPlaying:
        return StepState::kAlive;
      case Replay::State::kFinished:
        return StepState::kSolved;
      case Replay::State::kIllegal:
        break;
    }
    return StepState::kDead;
  }

 private:
  Draw draw(int64_t size, bool demonstration, RandomStream& random) const override {
    (void)demonstration;
    Draw made;
    std::vector<int64_t> numbers;
    for (int64_t i = 0; i <= size; ++i) {
      numbers.push_back(random.between(1, params().max_number));
      made.prompt.push_back(kGame.number_token(numbers.back()));
    }
    std::vector<Operator> operators;
    while (numbers.size() > 1) {
      const Move move = play_random_move(kGame, numbers, 1.0, random);
      append_line(kGame, move, numbers.size() == 1, made.solution);
      operators.push_back(move.op);
    }
    std::sort(operators.begin(), operators.end());
    for (const Operator op : operators) made.prompt.push_back(kGame.operator_token(op));
    made.prompt.push_back(kGame.arrow());
    // There are many right answers; the play that made the problem is the one that is kept.
    made.answer = decode(made.solution);
    return made;
  }
};

}  // namespace

std::unique_ptr<Task> make_bag_task(const TaskParams& params);
std::unique_ptr<Task> make_bag_task(const TaskParams& params) {
  return std::make_unique<Bag>(params);
}

}  // namespace deepsearch
