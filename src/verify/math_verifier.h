// Does a model's text answer a mathematical question as the reference does? Mathematics is compared, not strings:
// docs/verifier.md has the rules.
//
// Bounded by construction: work is counted in steps (a fraction of 20 ms), numbers, trees and memory are limited (under
// 16 MiB a thread), whatever the text; past a limit the answer is wrong, not late. Nothing throws; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/problem.h"
#include "data/verdict.h"
#include "verify/extraction.h"

namespace deepsearch {

struct MathOptions {
  math::ExtractionOptions extraction;
  int places = 6;                           // decimals kept where one side is a decimal number
  double tolerance = 0;                     // relative, where the reference is a decimal; 0: none
  bool strict = true;                       // false: variables match by position, f(x) equals f(y)
  bool set_for_relation_both_ways = false;  // an inequality may answer a set
  bool tolerant = false;                    // `tolerance` holds for every number of the reference
  bool ordered = false;                     // a list of values has an order
  bool list = false;     // reference and answer are lists: commas part values, brackets around them say nothing
  bool fallback = true;  // what is not mathematics is compared as text
  bool first_match_only = false;
  bool repair = true;  // \frac12 is read as \frac{1}{2}
};

// What a verdict took, whatever the machine: bounded by math::Limits::steps, and by math::Scan::kBudget and one search
// more.
struct VerdictWork {
  int64_t steps = 0;    // of building and evaluating expressions, all candidates together
  int64_t scanned = 0;  // characters passed in search of the answer
};

// The options for a problem with marks.
MathOptions with_marks(MathOptions options, const AnswerMarks& marks);

// Where an answer may stand, by name: "boxed", "phrases" ("answer is …"), "latex" (any maths), "numbers" (any). Phrases
// alone read maths and numbers behind the phrase. Another name, or none: bad_input that begins with `place`.
math::ExtractionOptions extraction_of(const std::vector<std::string>& names, const std::string& place);

class MathVerifier {
 public:
  explicit MathVerifier(MathOptions options = {}) : options_(std::move(options)) {}

  // `reference`: a bare answer as data sets store it, or a text that holds it in \boxed{…} or $…$. `response`: the
  // model's whole text, any bytes. `ended`: the model ended it; false: it was cut off.
  Verdict verify(std::string_view reference, std::string_view response, bool ended = true,
                 VerdictWork* work = nullptr) const noexcept;

  // The same, by what the problem's file says of its answer (docs/verifier.md).
  Verdict verify(const Problem& problem, std::string_view response, bool ended) const noexcept;

  // Both sides as they were read, and the decision, for people.
  std::string explain(std::string_view reference, std::string_view response) const;

  // Is the text read as mathematics (or words), not as an opaque string?
  bool reads(std::string_view reference) const noexcept;

  const MathOptions& options() const { return options_; }

 private:
  MathOptions options_;
};

}  // namespace deepsearch
