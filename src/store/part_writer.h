// PartWriter: the trees of one search rank in an HDF5 file of its own (docs/hdf5.md), readable while it grows.
// One thread. Errors name file and dataset; a full disk is exit code 2 and what was flushed stays readable. After an
// error the writer only repeats it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "data/tree_record.h"
#include "store/run_info.h"

namespace deepsearch {

class PartWriter {
 public:
  // Creates `path` (bad input if it exists); see part_path() in store/run_folder.h. `rank` is the world rank.
  // append() flushes by itself every `flush_seconds`: each flush rewrites the last block of every column, so shorter
  // means larger files.
  PartWriter(const std::filesystem::path& path, const RunInfo& info, int rank, double flush_seconds = 30.0);
  ~PartWriter();  // closes; never throws
  PartWriter(const PartWriter&) = delete;
  PartWriter& operator=(const PartWriter&) = delete;

  // A record that contradicts itself (token ranges, parents, leaves) is failure().
  void append(const TreeRecord& tree);
  void flush();  // readers see all trees appended so far
  void close();  // flushes; idempotent
  int64_t n_trees() const;
  double seconds_spent() const;  // in all calls together

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What is wrong with a record's internal references, "" when nothing is.
std::string check_tree_record(const TreeRecord& tree);

}  // namespace deepsearch
