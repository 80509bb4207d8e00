// A run's folder and its HDF5 (docs/hdf5.md lists every dataset):
//
//   runs/NAME/  config.toml   run.h5   parts/s0003-a01-0001.h5 …   checkpoints/step-000050/ …   log/rank-0003.log
//
// A part has one writer and is opened in SWMR mode, so that h5py can read it while it grows; run.h5 is written the same
// way by the coordinator. HDF5 is used from one thread of a process. Every HDF5 call is checked; a full disk is
// reported as such (exit code 2) and what was flushed stays readable.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/tree_record.h"

namespace deepsearch {

struct RunInfo {
  std::string config_text;   // resolved TOML
  uint64_t seed = 0;
  std::string revision;      // git
  std::string rank_layout;   // "2 search, 1 learner"
  std::vector<std::string> hosts;  // by rank
  std::vector<std::string> roles;  // by rank
  std::string command_line;
  std::string job_id;        // Slurm's, or ""
};

// One row of a metrics table: column → value. Every row of a table has the same columns, fixed by the first.
using MetricsRow = std::vector<std::pair<std::string, double>>;

struct MetricDoc {
  std::string units;
  std::string description;
};
// Units and description of a known metric column; unknown columns are a programming error (failure()).
const std::map<std::string, MetricDoc>& metric_docs();

// run.h5: written by the coordinator only.
class RunWriter {
 public:
  // Creates `folder`/run.h5 with /metrics/{learner,search,eval}, /problems, /ranks. `tables` fixes the columns.
  RunWriter(const std::filesystem::path& folder, const RunInfo& info,
            const std::map<std::string, std::vector<std::string>>& tables);
  ~RunWriter();  // closes; never throws
  void append(const std::string& table, const MetricsRow& row);
  // A problem of the run (once per key): key, id, source, split, prompt, answer, and its base pass rate.
  void add_problem(const Problem& problem, const std::string& split);
  void flush();   // readers see all rows appended so far
  // Attributes that are known at the end only: stop reason, wall seconds, link list to the parts; then closes the file.
  void finish(const std::string& how, double seconds, const std::vector<std::string>& parts);
  double seconds_spent() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One part: trees of one search rank.
class PartWriter {
 public:
  PartWriter(const std::filesystem::path& path, const RunInfo& info, int rank);
  ~PartWriter();
  void append(const TreeRecord& tree);
  void flush();
  void close();
  int64_t n_trees() const;
  double seconds_spent() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Reading back; files of a newer major version are refused, sizes are bounded before allocation.
class PartReader {
 public:
  explicit PartReader(const std::filesystem::path& path);  // also while the part is being written
  ~PartReader();
  int64_t n_trees() const;
  TreeRecord tree(int64_t row) const;
  struct TreeRow {
    int64_t row = 0;
    TreeKey key;
    RecordKind kind = RecordKind::kTree;
    std::string problem_id;
    int64_t n_nodes = 0;
    int64_t n_recorded = 0;
    int64_t n_correct = 0;   // recorded leaves that are correct
    StopReason stop_reason = StopReason::kRunning;
    int64_t tokens_generated = 0;
    double seconds = 0;
  };
  std::vector<TreeRow> rows() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class RunReader {
 public:
  explicit RunReader(const std::filesystem::path& folder);
  ~RunReader();
  const RunInfo& info() const;
  std::string state() const;  // "finished", "interrupted", "running or killed"
  std::vector<std::string> tables() const;
  std::vector<std::string> columns(const std::string& table) const;
  std::vector<double> column(const std::string& table, const std::string& name) const;
  std::vector<std::filesystem::path> parts() const;  // by name

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepsearch
