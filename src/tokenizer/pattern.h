// What Split and Replace look for: a literal text or a regular expression. Regular expressions are written in
// Oniguruma's Ruby syntax, as `tokenizers` takes them; they are translated to PCRE2, which matches them. Constructs
// that mean something else in PCRE2 and are not translated are refused, never run with another meaning:
//   nested sets and && in brackets, POSIX brackets, {n}? and {n,m}+, subroutines, \k, \X, \R, options inside a group.
// Not the same: caseless matching knows no foldings of one character to several (ß does not match "ss").
//
// A match may take at most kMaxMatchSteps steps of backtracking and kMaxMatchKilobytes of memory, beyond which the text
// is refused (bad_input), so that no pattern hangs. Immutable and thread-safe; each thread holds its own scratch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/json_node.h"

namespace deepsearch {

inline constexpr uint32_t kMaxMatchSteps = 10'000'000;
inline constexpr uint32_t kMaxMatchKilobytes = 64 << 10;
inline constexpr size_t kMaxPatternBytes = 64 << 10;

struct Match {
  size_t begin, end;
};

// Oniguruma → PCRE2. `with_recent`: characters newer than PCRE2's tables are spelled out in the classes they belong to,
// which is exact and slower. bad_input for what is not supported.
std::string translate_regex(std::string_view pattern, bool with_recent);

class Pattern {
 public:
  static Pattern literal(std::string text);
  static Pattern regex(std::string_view text);
  static Pattern from_json(const JsonNode& node);  // {"String": …} or {"Regex": …}

  // All matches in `text`, from left to right, without overlaps. An empty match is taken where the one before does not
  // end.
  std::vector<Match> find_all(std::string_view text) const;

  // The text with each match replaced; `replacement` is literal.
  std::string replace_all(std::string_view text, std::string_view replacement) const;

 private:
  struct Code;
  void find_literal(std::string_view text, std::vector<Match>& matches) const;
  void find_regex(std::string_view text, std::vector<Match>& matches) const;

  std::string literal_;
  std::shared_ptr<const Code> plain_, exact_;  // regular expressions; the same where no class knows recent characters
};

}  // namespace deepsearch
