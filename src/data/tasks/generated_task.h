// What the embedded tasks share: knobs, words, and the loop that turns "the index-th problem of a split" into draws.
// A task derives from this and says how one draw is made and how a response is judged.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/rng.h"
#include "data/task.h"

namespace deepsearch {

// What a task tells the shared part about itself.
struct TaskTraits {
  int64_t default_size;
  int64_t min_size, max_size;
  int64_t default_max_number;  // 0: the task has no such knob, and the value is not looked at
  int64_t min_max_number, max_max_number;
};

class GeneratedTask : public Task {
 public:
  const TaskParams& params() const final { return params_; }
  const std::vector<std::string>& vocabulary() const final { return words_; }
  Token pad_token() const final { return 0; }
  std::vector<Token> eos_tokens() const final { return {eos_}; }

  Problem problem(Split split, uint64_t index) const final;
  Example demonstration(uint64_t index) const final;

 protected:
  // One draw: a problem, and the solution it was made from (or, for a demonstration, the one to show).
  struct Draw {
    std::vector<Token> prompt;
    std::vector<Token> solution;
    std::string answer;
  };

  // Fills in the task's defaults and refuses knobs out of range. words[0] is the pad token, `eos` among the words.
  GeneratedTask(TaskParams params, const TaskTraits& traits, std::vector<std::string> words, const std::string& eos);

  // A pure function of the stream (and the knobs). An empty prompt means "not usable, draw again".
  virtual Draw draw(int64_t size, bool demonstration, RandomStream& random) const = 0;

  int64_t largest_size() const;
  // The id of a word that is known to exist.
  Token id_of(const std::string& word) const;
  // A token for messages: its word, or "<id?>".
  std::string word(Token token) const { return decode(TokenSpan(&token, 1)); }

 private:
  Example find(Split split, uint64_t index, bool demonstration) const;

  TaskParams params_;
  std::vector<std::string> words_;
  Token eos_;
};

}  // namespace deepsearch
