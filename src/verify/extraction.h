// Reads the final answer out of a model's text. Linear in the length of the text; nothing is executed or expanded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace deepsearch::math {

struct ExtractionOptions {
  bool boxed = true;                // \boxed{…}, \fbox{…}
  int boxed_priority = 50;          // rank of a box; lower wins; -1: a box is no sign of an answer
  bool latex = true;                // $…$, \(…\), \[…\], a bare \frac{a}{b}
  bool expressions = true;          // plain numbers and simple arithmetic
  bool strings = false;             // one of `choices` alone
  bool anywhere = true;             // false: only boxes and "answer is …"
  bool phrases = true;              // "answer is …"
  bool answer_after_think = false;  // an answer inside <think>…</think> never counts
  std::vector<std::string> choices = {"A", "B", "C", "D"};
  bool lowercase = true;  // of the choice read
};

struct Candidate {
  std::string text;
  int rank = 300;
  size_t end = 0;      // where it ends in the text
  bool plain = false;  // no LaTeX: a comma may be a decimal comma
};

// Candidates in the order to be tried: lowest rank first, then the one that ends last, then the longest. At most 8.
// `scanned`: characters passed by searches, Scan::kBudget and one search at most (scan.h).
std::vector<Candidate> extract(std::string_view text, const ExtractionOptions& options, int64_t* scanned = nullptr);

// Text of a reference answer without $…$ and \boxed{…} around it or its parts.
std::string strip_reference(std::string_view text);

}  // namespace deepsearch::math
