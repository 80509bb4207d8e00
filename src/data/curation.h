// What a training file holds more than once, and what contradicts itself: problems with the same text under several
// ids, with one answer (one of them is enough) or with several (at least one is wrong). Pure; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/answer_form.h"
#include "data/problem_file.h"

namespace deepsearch {

// The text that two problems must share to be one: runs of white space are one blank, and none at the ends. Case and
// punctuation count, since they do in mathematics.
std::string normalised_text(std::string_view text);

// Places of rows (from 0) with the same normalised text.
struct Conflict {
  int64_t first = 0;
  int64_t second = 0;  // the first row whose answer is another one
};

struct Curation {
  std::vector<int64_t> kept;        // ascending; of rows that are the same problem the first
  int64_t repeats = 0;              // rows that say again what an earlier one says
  std::vector<Conflict> conflicts;  // one for each text with several answers
  int64_t contradicting = 0;        // rows with such a text
};

// `same_answer(a, b)`: they are one answer. Rows with a text that has several answers are kept (of equal answers the
// first) with `keep_conflicts`, and left out otherwise.
Curation curate(const std::vector<ProblemRow>& rows, bool keep_conflicts,
                const std::function<bool(const std::string&, const std::string&)>& same_answer);

}  // namespace deepsearch
