// The safeguard (algorithm.md section 4, step 3): among incorrect trajectories, endless repetitions and garbled texts
// are dropped before they reach the loss. Pure; linear in the trajectory's length. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tree_record.h"
#include "rounds/params.h"

namespace deepsearch {

// The longest end of `tokens` that is one piece, whatever its length, at least `times` times over (the last time
// perhaps cut off, which then does not count): its number of tokens; 0 for none.
int64_t repeated_tail(TokenSpan tokens, int64_t times);

// Control characters (other than tab, line feed and carriage return), U+FFFD and bytes that are no UTF-8.
int64_t bad_characters(std::string_view text);
// The longest run of one character, blanks and line ends aside.
int64_t longest_run(std::string_view text);

class Safeguard {
 public:
  struct Vocabulary {
    Token pad = -1;  // in the middle of a response it is garbage; −1: the vocabulary has none
    std::vector<Token> eos = {};
    std::function<std::string(TokenSpan)> decode = {};
  };
  Safeguard(const RoundsParams& params, Vocabulary vocabulary);

  Dropped judge(TokenSpan response) const;
  // Marks the terminals of a record that are to be dropped, recorded or not, and returns how many.
  int64_t apply(TreeRecord& record) const;

 private:
  RoundsParams params_;
  Vocabulary vocabulary_;
};

// "2 repetition, 1 garbled": the recorded trajectories that were dropped; "" for none.
std::string dropped_text(const TreeRecord& record);

}  // namespace deepsearch
