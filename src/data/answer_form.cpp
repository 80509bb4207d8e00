#include "data/answer_form.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

namespace deepsearch {

namespace {

constexpr std::string_view kBlanks = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// Takes `open` … `close` from around the text; false where they are not there.
bool unwrap(std::string_view& text, std::string_view open, std::string_view close) {
  if (text.size() < open.size() + close.size() || !text.starts_with(open) || !text.ends_with(close)) return false;
  text = trimmed(text.substr(open.size(), text.size() - open.size() - close.size()));
  return true;
}

std::string_view bare(std::string_view text) {
  text = trimmed(text);
  bool changed = true;
  while (changed) {
    changed = unwrap(text, "$", "$") || unwrap(text, "", ".");
    for (const std::string_view command : {"\\text{", "\\textbf{", "\\mathrm{", "\\mathbf{", "\\boxed{"}) {
      // One group only: \text{a} or \text{b} is not a text in braces.
      if (std::count(text.begin(), text.end(), '}') == 1) changed = unwrap(text, command, "}") || changed;
    }
  }
  return text;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Digits after a sign, with or without commas between groups of three.
bool is_integer(std::string_view text) {
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  if (text.empty()) return false;
  if (std::all_of(text.begin(), text.end(), is_digit)) return true;
  const size_t head = text.find(',');
  if (head == std::string_view::npos || head == 0 || head > 3) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool comma = i >= head && (i - head) % 4 == 0;
    if (comma ? text[i] != ',' : !is_digit(text[i])) return false;
  }
  return (text.size() - head) % 4 == 0;
}

}  // namespace

AnswerForm answer_form(std::string_view answer) {
  const std::string_view text = bare(answer);
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower == "yes" || lower == "no") return AnswerForm::kYesNo;
  if (lower == "true" || lower == "false") return AnswerForm::kTrueFalse;
  std::string_view letter = lower;
  unwrap(letter, "(", ")");
  if (letter.size() == 1 && letter.front() >= 'a' && letter.front() <= 'e') return AnswerForm::kLetter;
  return is_integer(text) ? AnswerForm::kInteger : AnswerForm::kOther;
}

const char* to_string(AnswerForm form) {
  constexpr std::array<const char*, kAnswerForms> kNames = {"yes/no", "true/false", "letter", "integer", "other"};
  return kNames[static_cast<size_t>(form)];
}

}  // namespace deepsearch
