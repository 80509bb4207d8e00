// Problems in a file: /problems with short texts for people, /problem_text and /problem_tokens with all of them. The
// same in run.h5 (RunProblemLine) and in a part (ProblemLine). Internal to store/.
#pragma once

#include <cstdint>
#include <vector>

#include "data/problem.h"
#include "store/column_table.h"

namespace deepsearch {

class ProblemWriter {
 public:
  // `tables` is part_tables() or run_tables().
  ProblemWriter(hid_t file, const Hdf5Place& place, const std::vector<TableSchema>& tables);

  // Adds a problem; `line` brings what only its kind of file knows. Returns its row.
  template <class Line>
  int64_t add(const Problem& problem, Line line) {
    fill(problem, line);
    const int64_t row = problems_.lines();
    problems_.append(line);
    return row;
  }
  void write();
  void publish();  // texts and tokens before the rows that refer to them
  void close();
  size_t memory_bytes() const { return text_.memory_bytes() + tokens_.memory_bytes() + problems_.memory_bytes(); }

 private:
  void fill(const Problem& problem, ProblemLine& line);
  TableWriter text_;
  TableWriter tokens_;
  TableWriter problems_;
};

class ProblemReader {
 public:
  ProblemReader(hid_t file, const Hdf5Place& place, const std::vector<TableSchema>& tables, uint64_t file_bytes);
  int64_t lines() const { return problems_.lines(); }
  template <class Line>
  Problem read(int64_t row, Line& line) const {
    line = problems_.read<Line>(row, 1).front();
    return problem_of(line);
  }

 private:
  Problem problem_of(const ProblemLine& line) const;
  TableReader problems_;
  TableReader text_;
  TableReader tokens_;
};

}  // namespace deepsearch
