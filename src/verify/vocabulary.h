// The commands, names and units that the lexer knows.
#pragma once

#include <string_view>

#include "verify/lexer.h"

namespace deepsearch::math {

struct Entry {
  T type;
  std::string_view text;
};

// Null: unknown. Names are without the backslash.
const Entry* find_command(std::string_view name);
// Commands that change the look only; -1: unknown, else the number of arguments to skip with it.
int skipped_arguments(std::string_view name);
// Functions written as words ("sin"); null: none.
const Entry* find_word(std::string_view name);
// A sign beyond ASCII as LaTeX; null: unknown.
const char* find_sign(char32_t code);

}  // namespace deepsearch::math
