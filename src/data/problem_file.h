// Problem files: UTF-8, one JSON object a line, no blank lines.
//
//   {"id": "61", "source": "aime24", "problem": "Every morning …", "answer": "204", "level": 3, "subject": "Algebra"}
//
// `id` (unique within the file), `source`, `problem` and `answer` are strings that are never blank, the first two
// without control characters; `level`, `subject`, `pass_rate` and `round` are left out where unknown. Marks of the
// answer, for the verifier of mathematics (docs/verifier.md): `list` and `ordered` are true or false, `tolerance` is a
// number above 0. Other keys are read over. Nothing here is shared: any thread.
//
// Errors (bad_input) read "FILE:LINE: what is wrong; what would be right". A file is read whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/problem.h"

namespace deepsearch {

inline constexpr uint64_t kMaxProblemLineBytes = uint64_t{1} << 20;
inline constexpr uint64_t kMaxProblemNameBytes = 256;  // id and source
inline constexpr double kMaxTolerance = 0.5;           // relative
inline constexpr uint64_t kMaxProblemFileBytes = uint64_t{1} << 30;

struct ProblemRow {
  Problem problem;  // `prompt` holds the text of "problem"; no prompt_tokens (they are a tokenizer's matter); key set
  std::optional<double> level;      // difficulty: 1 to 5 (math500), 1 to 10 (deepmath)
  std::string subject;              // "": unknown
  std::optional<double> pass_rate;  // 0 to 1, of the policy that filtered the file
  std::optional<int64_t> round;     // the filter's round, from 0
};

std::vector<ProblemRow> read_problem_file(const std::filesystem::path& path);

// The same from text; `name` stands for the file in messages.
std::vector<ProblemRow> parse_problem_file(std::string_view text, const std::string& name);

// Whole or not at all (core/files.h). Rows that could not be read back are refused (bad_input).
void write_problem_file(const std::filesystem::path& path, std::span<const ProblemRow> rows);

// One row as its line, without the line end.
std::string format_problem(const ProblemRow& row);

}  // namespace deepsearch
