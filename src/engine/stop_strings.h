// Stop strings: a response ends with the token that completes one of them. Matched on bytes, so a string may begin and
// end inside tokens.
#pragma once

#include <string>
#include <vector>

#include "data/tokens.h"

namespace deepsearch {

class StopStrings {
 public:
  StopStrings() = default;
  // bad_input for an empty string, or for strings without a table of the tokens' bytes.
  StopStrings(std::vector<std::string> strings, std::vector<std::string> token_bytes);

  bool any() const { return !strings_.empty(); }
  // Adds a token's bytes to `tail`, the end of a response's text (empty at its start), and says whether one of the
  // strings ends in the new bytes. Keeps in `tail` what the next call needs.
  bool completes(std::string& tail, Token token) const;

 private:
  std::vector<std::string> strings_;
  std::vector<std::string> token_bytes_;
  size_t longest_ = 0;
};

}  // namespace deepsearch
