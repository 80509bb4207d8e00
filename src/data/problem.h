// A problem: what the policy is asked and what the verifier compares with. A plain value; travels by message.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tokens.h"

namespace deepsearch {

// What a problem file says of its answer beyond the text, for the verifier of mathematics.
struct AnswerMarks {
  bool list = false;     // several values; commas part them, brackets around them say nothing
  bool ordered = false;  // … and their order counts
  double tolerance = 0;  // relative, of every number in it; 0: none said

  template <class Archive>
  void serialize(Archive& archive) {
    archive(list, ordered, tolerance);
  }
  bool operator==(const AnswerMarks&) const = default;
};

struct Problem {
  std::string id;          // unique within its source
  std::string source;      // task or data set: "bag", "math500", …
  std::string prompt;      // text, as the policy sees it
  std::string answer;      // ground truth, in the words of its verifier
  AnswerMarks marks = {};  // how it is to be compared
  std::vector<Token> prompt_tokens;
  uint64_t key = 0;  // problem_key(source, prompt): names the problem on disk, splits train from test

  template <class Archive>
  void serialize(Archive& archive) {
    archive(id, source, prompt, answer, marks, prompt_tokens, key);
  }
};

// Stable hash of source and prompt text.
uint64_t problem_key(const std::string& source, const std::string& prompt);

}  // namespace deepsearch
