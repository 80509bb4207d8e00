// RunWriter: run.h5, written by the coordinator only (docs/hdf5.md), readable while it grows. One thread. Errors name
// file and dataset; a full disk is exit code 2 and what was flushed stays readable.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/problem.h"
#include "store/evaluation.h"
#include "store/metrics.h"
#include "store/run_info.h"

namespace deepsearch {

// Of an earlier attempt's rows, those that stay: of /metrics/eval steps up to `evaluated`, of /metrics/rounds the
// rounds before `rounds`, of the others steps up to `step`.
struct KeptRows {
  int64_t step = -1;
  int64_t evaluated = -1;
  int64_t rounds = 0;
};

class RunWriter {
 public:
  // Creates `folder`/run.h5 with /metrics/{learner,search,eval,rounds}, /problems, /ranks. `tables` fixes the columns
  // ("learner" → names out of metric_docs()); a table left out has its usual columns.
  // Without `kept` a run.h5 there already is bad input. With it the run goes on from a checkpoint: the old file's rows
  // up to it are carried over (columns it lacks are NaN), the problems too, and the new file takes the old one's name
  // in one stroke.
  RunWriter(const std::filesystem::path& folder, const RunInfo& info,
            const std::map<std::string, std::vector<std::string>>& tables, const std::optional<KeptRows>& kept = {});
  ~RunWriter();  // closes; never throws
  RunWriter(const RunWriter&) = delete;
  RunWriter& operator=(const RunWriter&) = delete;

  // One value for each of the table's columns, in any order; anything else is failure().
  void append(const std::string& table, const MetricsRow& row);
  // A problem of the run; a key that is known already is passed over. `base_pass_rate`: NaN when not measured.
  void add_problem(const Problem& problem, const std::string& split,
                   double base_pass_rate = std::numeric_limits<double>::quiet_NaN());
  void flush();  // readers see all rows appended so far
  // `how`: "finished" or "interrupted", or one of them with a reason behind it ("interrupted: SIGTERM"). Writes what is
  // known at the end only, and links to `parts` (file names) and to any other part in the folder; then closes the file.
  // `evaluation`: becomes /evaluation.
  void finish(const std::string& how, double seconds, const std::vector<std::string>& parts,
              const EvaluationTables* evaluation = nullptr);
  double seconds_spent() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepsearch
