// Byte pair encoding: a piece becomes one symbol a character; then, again and again, of all adjacent pairs with a merge
// the one of the lowest rank (the leftmost of equals) becomes one symbol. Byte-level or with byte_fallback.
#pragma once

#include <memory>

#include "tokenizer/model.h"

namespace deepsearch {

std::unique_ptr<Model> make_bpe(const JsonNode& node);

}  // namespace deepsearch
