// What kind of text a problem's answer is, judged by its form alone: some can be guessed. Pure; any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace deepsearch {

enum class AnswerForm : uint8_t {
  kYesNo = 0,      // yes, no
  kTrueFalse = 1,  // true, false
  kLetter = 2,     // A to E, (A), \text{(A)}; lower case too
  kInteger = 3,    // 600, -1, 58,500
  kOther = 4,
};
inline constexpr int kAnswerForms = 5;

// Spaces, $…$, a full stop behind and \text{…} around are read over, and so is the case.
AnswerForm answer_form(std::string_view answer);

// Of at most five answers that a policy may know without the question: yes/no, true/false, a letter.
inline bool guessable(AnswerForm form) {
  return form == AnswerForm::kYesNo || form == AnswerForm::kTrueFalse || form == AnswerForm::kLetter;
}

const char* to_string(AnswerForm form);  // "yes/no", "letter", …

}  // namespace deepsearch
