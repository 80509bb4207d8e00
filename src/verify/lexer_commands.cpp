#include <algorithm>
#include <cctype>
#include <iterator>

#include "verify/lexer_impl.h"
#include "verify/vocabulary.h"

namespace deepsearch::math {

namespace {

constexpr int kMaxTextLevels = 16;
constexpr std::string_view kTextCommands[] = {"text",   "textbf",       "textit", "mbox",   "textnormal", "textrm",
                                              "mathrm", "operatorname", "hbox",   "texttt", "textsf",     "emph"};

std::string trimmed_lower(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (space(c)) {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else {
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

// The group that opens at i_ (after blanks), without its braces; or one character.
bool Lexer::raw_group(std::string_view& group) {
  while (space(at(i_))) ++i_;
  if (at(i_) != '{') {
    if (i_ >= s_.size()) return false;
    group = s_.substr(i_++, 1);
    return true;
  }
  int depth = 0;
  for (size_t k = i_; k < s_.size(); ++k) {
    if (s_[k] == '\\') {
      ++k;
    } else if (s_[k] == '{') {
      ++depth;
    } else if (s_[k] == '}' && --depth == 0) {
      group = s_.substr(i_ + 1, k - i_ - 1);
      i_ = k + 1;
      return true;
    }
  }
  return false;
}

bool Lexer::inline_text(std::string_view text) {
  Lexer inner(text, options_, out_);
  inner.space_ = space_;
  inner.level_ = level_ + 1;
  if (inner.level_ > kMaxTextLevels) return false;  // each level goes through its text again
  while (inner.i_ < text.size()) {
    if (out_.size() > kMaxTokens || ++nested_ > 64 || !inner.one()) return false;
  }
  space_ = false;
  return true;
}

bool Lexer::square_unit(std::string_view word) {
  for (const std::string_view square : {"square ", "sq. ", "sq "}) {
    if (!word.starts_with(square)) continue;
    const std::string_view unit = unit_name(word.substr(square.size()));
    if (unit.empty() || unit == "%" || unit == "deg") continue;
    push(T::kUnit, unit);
    push(T::kCaret, "");
    push(T::kNumber, "2");
    return true;
  }
  return false;
}

// What \mathrm and \operatorname hold: a unit, a letter, the name of a function. False: none of them.
bool Lexer::roman(std::string_view one, bool& read) {
  read = true;
  if (one.size() == 1 && letter(one[0])) {
    if (!out_.empty() && out_.back().type == T::kNumber &&
        std::string_view("mghsLNJWVK").find(one[0]) != std::string_view::npos) {
      push(T::kUnit, one);
      return true;
    }
    read = inline_text(one);
    return true;
  }
  const Entry* known = find_command(one);
  if (known == nullptr) return false;
  push(known->type, known->text);
  return true;
}

bool Lexer::unit_or_words(std::string_view command, std::string_view bare, std::string_view one) {
  const std::string_view unit = unit_name(bare);
  if (unit == "%") {
    push(T::kPercent, "");
  } else if (unit == "deg") {
    push(T::kDegree, "");
  } else if (!unit.empty()) {
    push(T::kUnit, unit);
  } else if (std::any_of(one.begin(), one.end(), digit) || one.find('\\') != std::string_view::npos ||
             (command == "mathrm" && one.find(' ') == std::string_view::npos)) {
    if (command != "mathrm" || !std::all_of(one.begin(), one.end(), letter)) return inline_text(one);
    push(T::kText, one);
  } else {
    push(T::kText, one);
  }
  return true;
}

// The group of \text and its like: words, units, "and", or mathematics after all.
bool Lexer::text_group(std::string_view command) {
  std::string_view group;
  if (!raw_group(group)) return false;
  const std::string word = trimmed_lower(group);
  if (word.empty()) {
    space_ = true;
    return true;
  }
  const bool first = out_.empty();
  if (word == "infinity") {
    push(T::kInfinity, "");
    return true;
  }
  if (square_unit(word)) return true;
  std::string bare = word;
  while (!bare.empty() && (bare.back() == '.' || bare.back() == ',')) bare.pop_back();
  std::string_view core = bare;
  if (core.starts_with(", ")) core.remove_prefix(2);
  if (core == "and" || core == "or") {
    push(T::kWordSeparator, core);
    return true;
  }
  if (first && (word.back() == ':' || word == "answer")) return true;                       // a label
  if (word.front() == '(' && word.back() == ')' && !first && word.size() > 3) return true;  // a remark
  std::string_view one = group;
  while (!one.empty() && space(one.front())) one.remove_prefix(1);
  while (!one.empty() && space(one.back())) one.remove_suffix(1);
  bool read = true;
  if ((command == "mathrm" || command == "operatorname" || command == "operatorname*") && roman(one, read)) return read;
  return unit_or_words(command, bare, one);
}

// Environments, letters of other alphabets, \not; false: `name` is none of them. `read`: it was well formed.
bool Lexer::structure(std::string_view name, bool& read) {
  read = false;
  if (name == "begin" || name == "end") {
    std::string_view group;
    if (!raw_group(group)) return true;
    push(name == "begin" ? T::kBegin : T::kEndEnv, group);
    if (name == "begin" && group == "array" && at(i_) == '{' && !raw_group(group)) return true;
    return read = true;
  }
  if (name == "mathbb" || name == "Bbb" || name == "mathcal" || name == "mathfrak" || name == "mathscr") {
    std::string_view group;
    if (!raw_group(group)) return true;
    if (name == "mathbb" && group == "R") {
      push(T::kReals, "");
    } else {
      push(T::kLetter, std::string(name) + "{" + std::string(group) + "}");
    }
    return read = true;
  }
  if (name == "not") {
    while (space(at(i_))) ++i_;
    const size_t before = out_.size();
    if (!one() || out_.size() != before + 1) return true;
    out_.back().text = out_.back().text == "=" ? "!=" : "not " + out_.back().text;
    out_.back().type = T::kRelation;
    return read = true;
  }
  return false;
}

bool Lexer::command() {
  ++i_;
  if (i_ >= s_.size()) return true;
  if (at(i_) == '\\') {
    ++i_;
    push(T::kRow, "");
    return true;
  }
  const size_t from = i_;
  while (letter(at(i_))) ++i_;
  if (i_ == from) ++i_;
  std::string_view name = s_.substr(from, i_ - from);
  if (at(i_) == '*' && name == "operatorname") ++i_;
  if (name == "left" || name == "right" || name == "middle") {
    while (space(at(i_))) ++i_;
    if (at(i_) == '.') ++i_;
    return true;
  }
  if (std::find(std::begin(kTextCommands), std::end(kTextCommands), name) != std::end(kTextCommands)) {
    return text_group(name);
  }
  bool read = true;
  if (structure(name, read)) return read;
  if (const int arguments = skipped_arguments(name); arguments >= 0) {
    std::string_view group;
    for (int n = 0; n < arguments; ++n) {
      if (!raw_group(group)) return false;
    }
    if (name != "!") space_ = true;
    return true;
  }
  if (const Entry* known = find_command(name)) {
    push(known->type, known->text);
    return true;
  }
  if (!letter(name[0])) return false;
  push(T::kLetter, name);
  return true;
}

}  // namespace deepsearch::math
