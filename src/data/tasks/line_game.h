// What countdown and bag share: numbers on a board, and an answer of lines `a o b c ;` that each take two numbers off
// and put their result on. A line is five tokens; the last line's `;` is `.`, the end of sequence.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/rng.h"
#include "data/tokens.h"

namespace deepsearch {

inline constexpr int64_t kLineTokens = 5;

enum class Operator : uint8_t { kAdd = 0, kSubtract = 1, kMultiply = 2, kDivide = 3 };
inline constexpr int64_t kOperators = 4;

// a o b as written; nothing where the division is not exact. Inputs are small (tens), so nothing overflows.
std::optional<int64_t> apply(int64_t a, Operator op, int64_t b);

// The numbers a game knows, and the ids of its words: pad, low … high, + - * /, ; . >
struct LineGame {
  int64_t low, high;  // 0 ≤ low ≤ 1, high ≤ 49

  std::vector<std::string> words() const;
  std::string word(Token token) const;  // "<id?>" outside the vocabulary

  Token number_token(int64_t number) const { return static_cast<Token>(1 + number - low); }
  Token operator_token(Operator op) const { return number_token(high + 1) + static_cast<Token>(op); }
  Token separator() const { return number_token(high + 1) + kOperators; }  // ;
  Token stop() const { return separator() + 1; }                           // .
  Token arrow() const { return separator() + 2; }                          // >

  std::optional<int64_t> as_number(Token token) const;
  std::optional<Operator> as_operator(Token token) const;
};

// How often each number and operator is still there.
struct Board {
  std::array<int16_t, 50> numbers{};            // by number
  std::array<int16_t, kOperators> operators{};  // by operator
  bool count_operators = false;                 // false: every operator is always there
  int64_t lines = 0;                            // what a whole answer has
};

struct Replay {
  enum class State : uint8_t {
    kPlaying,   // all whole lines are legal, lines are missing
    kIllegal,   // `why` says what is wrong
    kFinished,  // all lines are legal, and the last one ended the answer
  };
  State state = State::kPlaying;
  int64_t legal_lines = 0;
  int64_t result = -1;  // of the last legal line; −1 before the first
  std::string why;
};

// Plays a response on a board, line by line. An unfinished last line is not judged, unless it holds the end of
// sequence. Any tokens are welcome; takes at most 5 × board.lines of them.
Replay replay(const LineGame& game, Board board, TokenSpan response);

struct Move {
  int64_t a;
  Operator op;
  int64_t b, c;
};

// Draws a random pair, puts the larger first, and draws an operator uniformly from those whose result lies in
// low … high; then takes the pair out of `numbers` and puts the result at its end. A drawn × or ÷ is kept with
// probability `keep_product`, else an operator is drawn from + and −. Needs two numbers at least, all in low … high;
// then some operator is always legal: a − b where a > b, a ÷ b where a = b > 0, a + b where both are 0.
Move play_random_move(const LineGame& game, std::vector<int64_t>& numbers, double keep_product, RandomStream& random);

void append_line(const LineGame& game, const Move& move, bool last, std::vector<Token>& tokens);

}  // namespace deepsearch
