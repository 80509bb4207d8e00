// Reading a run's HDF5 back, also while it is being written and after its writer was killed. Another kind of file,
// another major version, damage: bad input that names file and dataset. Sizes are bounded before anything is
// allocated. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/tree_record.h"
#include "store/run_info.h"

namespace deepsearch {

// Sees the trees that were flushed when it was made; make a new one to see more.
class PartReader {
 public:
  explicit PartReader(const std::filesystem::path& path);
  ~PartReader();
  PartReader(PartReader&&) noexcept;
  PartReader& operator=(PartReader&&) noexcept;

  int64_t n_trees() const;
  TreeRecord tree(int64_t row) const;
  struct TreeRow {
    int64_t row = 0;
    TreeKey key;
    RecordKind kind = RecordKind::kTree;
    std::string problem_id;
    int64_t n_nodes = 0;
    int64_t n_recorded = 0;
    int64_t n_correct = 0;  // recorded leaves that are correct
    StopReason stop_reason = StopReason::kRunning;
    int64_t tokens_generated = 0;
    double seconds = 0;
  };
  std::vector<TreeRow> rows() const;
  const RunInfo& info() const;  // without hosts and roles
  int rank() const;             // world rank of the writer
  std::string state() const;    // "closed", "running or killed"

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class RunReader {
 public:
  explicit RunReader(const std::filesystem::path& folder);
  ~RunReader();
  RunReader(RunReader&&) noexcept;
  RunReader& operator=(RunReader&&) noexcept;

  const RunInfo& info() const;
  std::string state() const;                // "finished", "interrupted", "running or killed"
  std::string stop_reason() const;          // as given to RunWriter::finish, "" before
  int64_t attempt() const;                  // 1, and one more for each resume
  std::vector<std::string> tables() const;  // "learner", "search", "eval"
  std::vector<std::string> columns(const std::string& table) const;
  // A value a row; columns of a table have equal lengths here. Unknown names are bad input.
  std::vector<double> column(const std::string& table, const std::string& name) const;

  struct ProblemRow {
    Problem problem;
    std::string split;
    double base_pass_rate = 0;  // NaN when not measured
  };
  std::vector<ProblemRow> problems() const;
  // All parts in the folder, by name, linked or not.
  std::vector<std::filesystem::path> parts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepsearch
