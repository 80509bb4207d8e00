// The lexer's state (lexer.h is the interface). Each function that reads something returns false where the whole text
// is not to be read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "verify/characters.h"
#include "verify/lexer.h"

namespace deepsearch::math {

inline bool space(char c) {
  return blank(c) || c == '~';
}

class Lexer {
 public:
  Lexer(std::string_view text, const LexOptions& options, std::vector<Token>& tokens)
      : s_(text), options_(options), out_(tokens) {}

  bool run();

 private:
  char at(size_t k) const { return k < s_.size() ? s_[k] : '\0'; }
  void push(T type, std::string_view text);
  bool one();  // the next token, or a blank
  bool sign(char c);

  // Numbers: lexer_numbers.cpp.
  bool digits_at(size_t k, size_t n) const;
  size_t separator(size_t k, bool& comma) const;
  bool thousands(std::string& text);
  void decimal_comma(std::string& text, Token& token);
  void decimals(std::string& text, Token& token);
  void exponent(std::string& text);
  bool number();

  bool word();
  bool unit_or_text(std::string_view run);
  bool letters(std::string_view run, bool after_number);
  bool single(std::string_view name);

  // Commands and their groups: lexer_commands.cpp.
  bool raw_group(std::string_view& group);
  bool inline_text(std::string_view text);
  bool text_group(std::string_view command);
  bool square_unit(std::string_view word);
  bool roman(std::string_view one, bool& read);
  bool unit_or_words(std::string_view command, std::string_view bare, std::string_view one);
  bool command();
  bool structure(std::string_view name, bool& read);

  std::string_view s_;
  LexOptions options_;
  std::vector<Token>& out_;
  size_t i_ = 0;
  int depth_ = 0;   // brackets that are open, braces not counted
  int level_ = 0;   // of text groups around this text
  int nested_ = 0;  // tokens read inside of text groups
  bool space_ = false;
};

}  // namespace deepsearch::math
