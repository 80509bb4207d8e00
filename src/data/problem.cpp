#include "data/problem.h"

#include "core/rng.h"

namespace deepsearch {

uint64_t problem_key(const std::string& source, const std::string& prompt) {
  // The source is hashed by itself, so that ("ab", "c") and ("a", "bc") differ.
  return mix(hash_text(source), hash_text(prompt));
}

}  // namespace deepsearch
