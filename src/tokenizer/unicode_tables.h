// Ranges of code points by which unicode.cpp corrects utf8proc's tables; in order, without overlaps.
#pragma once

#include <span>

#include "tokenizer/unicode.h"

namespace deepsearch::unicode {

struct Range {
  char32_t first, last;
};

std::span<const Range> late_marks();
std::span<const Range> late_punctuation();
std::span<const Range> late_decompositions();

}  // namespace deepsearch::unicode
