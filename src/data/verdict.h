// What a verifier says. Plain values.
#pragma once

#include <cstdint>
#include <string>

namespace deepsearch {

// incomplete: no answer can be read out and the response was cut off.
enum class Outcome : uint8_t { kCorrect = 0, kWrong = 1, kIncomplete = 2, kNone = 255 };  // kNone: not judged

struct Verdict {
  Outcome outcome = Outcome::kNone;
  std::string extracted;  // the answer as read from the response
  std::string why;        // one short clause for people
};

// What a step check says of an unfinished response: go on; no continuation can be right; it is solved already.
enum class StepState : uint8_t { kAlive = 0, kDead = 1, kSolved = 2 };

inline const char* to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kCorrect:
      return "correct";
    case Outcome::kWrong:
      return "wrong";
    case Outcome::kIncomplete:
      return "incomplete";
    case Outcome::kNone:
      break;
  }
  return "none";
}

}  // namespace deepsearch
