#include "data/tasks/line_game.h"

#include <utility>

#include <fmt/format.h>

namespace deepsearch {

namespace {

constexpr const char* kOperatorWords[] = {"+", "-", "*", "/"};

// The operators from `first` to `last` whose result the game knows.
struct LegalOperators {
  std::array<Operator, kOperators> op{};
  uint64_t count = 0;
};

LegalOperators legal_operators(const LineGame& game, int64_t a, int64_t b, Operator first, Operator last) {
  LegalOperators legal;
  for (int i = static_cast<int>(first); i <= static_cast<int>(last); ++i) {
    const auto op = static_cast<Operator>(i);
    const std::optional<int64_t> c = apply(a, op, b);
    if (c && *c >= game.low && *c <= game.high) legal.op[legal.count++] = op;
  }
  return legal;
}

int64_t take_out(std::vector<int64_t>& numbers, uint64_t place) {
  const int64_t number = numbers[place];
  numbers.erase(numbers.begin() + static_cast<std::ptrdiff_t>(place));
  return number;
}

// Takes one off a count; false when none is left.
bool take(int16_t& count) {
  if (count <= 0) return false;
  --count;
  return true;
}

// Plays one whole line; what is wrong with it, or "" after it was played.
std::string play_line(const LineGame& game, TokenSpan line, bool last, Board& board, int64_t& result) {
  const auto a = game.as_number(line[0]);
  const auto op = game.as_operator(line[1]);
  const auto b = game.as_number(line[2]);
  const auto c = game.as_number(line[3]);
  if (!a) return fmt::format("{} is no number", game.word(line[0]));
  if (!op) return fmt::format("{} is no operator", game.word(line[1]));
  if (!b) return fmt::format("{} is no number", game.word(line[2]));
  if (!c) return fmt::format("{} is no number", game.word(line[3]));
  if (line[4] == game.stop() && !last) return "the answer ends too early";
  if (line[4] != (last ? game.stop() : game.separator())) {
    return fmt::format("ends with {} instead of {}", game.word(line[4]), last ? "." : ";");
  }
  if (!take(board.numbers[static_cast<size_t>(*a)])) return fmt::format("{} is not left", *a);
  if (!take(board.numbers[static_cast<size_t>(*b)])) return fmt::format("{} is not left", *b);
  if (board.count_operators && !take(board.operators[static_cast<size_t>(*op)])) {
    return fmt::format("{} is not left", game.word(line[1]));
  }
  const std::optional<int64_t> value = apply(*a, *op, *b);
  if (!value) return fmt::format("{} / {} is not exact", *a, *b);
  if (*value != *c) return fmt::format("{} {} {} is {}, not {}", *a, game.word(line[1]), *b, *value, *c);
  ++board.numbers[static_cast<size_t>(*c)];
  result = *c;
  return "";
}

}  // namespace

std::optional<int64_t> apply(int64_t a, Operator op, int64_t b) {
  switch (op) {
    case Operator::kAdd:
      return a + b;
    case Operator::kSubtract:
      return a - b;
    case Operator::kMultiply:
      return a * b;
    case Operator::kDivide:
      break;
  }
  if (b == 0 || a % b != 0) return std::nullopt;
  return a / b;
}

std::vector<std::string> LineGame::words() const {
  std::vector<std::string> words = {"<pad>"};
  for (int64_t number = low; number <= high; ++number) words.push_back(std::to_string(number));
  for (const char* const word : kOperatorWords) words.emplace_back(word);
  for (const char* const word : {";", ".", ">"}) words.emplace_back(word);
  return words;
}

std::string LineGame::word(Token token) const {
  if (const auto number = as_number(token)) return std::to_string(*number);
  if (const auto op = as_operator(token)) return kOperatorWords[static_cast<size_t>(*op)];
  if (token == separator()) return ";";
  if (token == stop()) return ".";
  if (token == arrow()) return ">";
  return token == 0 ? "<pad>" : fmt::format("<{}?>", token);
}

std::optional<int64_t> LineGame::as_number(Token token) const {
  if (token < number_token(low) || token > number_token(high)) return std::nullopt;
  return low + (token - number_token(low));
}

std::optional<Operator> LineGame::as_operator(Token token) const {
  const Token first = operator_token(Operator::kAdd);
  if (token < first || token > operator_token(Operator::kDivide)) return std::nullopt;
  return static_cast<Operator>(token - first);
}

Replay replay(const LineGame& game, Board board, TokenSpan response) {
  Replay seen;
  const auto illegal = [&](const std::string& why) {
    seen.state = Replay::State::kIllegal;
    seen.why = fmt::format("line {}: {}", seen.legal_lines + 1, why);
    return seen;
  };
  while (response.size() >= kLineTokens) {
    const bool last = seen.legal_lines + 1 == board.lines;
    const std::string why = play_line(game, response.first(kLineTokens), last, board, seen.result);
    if (!why.empty()) return illegal(why);
    ++seen.legal_lines;
    response = response.subspan(kLineTokens);
    if (last) {
      if (!response.empty()) return illegal("goes on after the end");
      seen.state = Replay::State::kFinished;
      return seen;
    }
  }
  for (const Token token : response) {
    if (token == game.stop()) return illegal("the answer ends in mid-line");
  }
  return seen;
}

Move play_random_move(const LineGame& game, std::vector<int64_t>& numbers, double keep_product, RandomStream& random) {
  int64_t a = take_out(numbers, random.below(numbers.size()));
  int64_t b = take_out(numbers, random.below(numbers.size()));
  if (a < b) std::swap(a, b);
  LegalOperators legal = legal_operators(game, a, b, Operator::kAdd, Operator::kDivide);
  Operator op = legal.op[random.below(legal.count)];
  if (op >= Operator::kMultiply && random.uniform() >= keep_product) {
    legal = legal_operators(game, a, b, Operator::kAdd, Operator::kSubtract);
    if (legal.count > 0) op = legal.op[random.below(legal.count)];
  }
  const int64_t c = apply(a, op, b).value_or(game.low);
  numbers.push_back(c);
  return {a, op, b, c};
}

void append_line(const LineGame& game, const Move& move, bool last, std::vector<Token>& tokens) {
  tokens.push_back(game.number_token(move.a));
  tokens.push_back(game.operator_token(move.op));
  tokens.push_back(game.number_token(move.b));
  tokens.push_back(game.number_token(move.c));
  tokens.push_back(last ? game.stop() : game.separator());
}

}  // namespace deepsearch
