// \boxed{…} and \fbox{…} in a text.
#pragma once

#include <string_view>

#include "verify/characters.h"
#include "verify/scan.h"

namespace deepsearch::math {

struct Box {
  size_t start;  // of the command
  size_t end;    // behind the closing brace
  std::string_view content;
};

// The brace that closes the one at `open`; kNone: none.
size_t closing_brace(Scan& scan, std::string_view s, size_t open);

// The last box that closes and begins in [from, before). `open`: a later one does not close.
bool last_box(Scan& scan, std::string_view s, size_t from, size_t before, Box& box, bool& open);

// May the text between two boxes join their answers: "and", "or", a comma, and little else.
bool joins(std::string_view between);

}  // namespace deepsearch::math
