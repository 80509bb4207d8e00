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

struct PartParams {
  // append() flushes by itself this often: each flush rewrites the last block of every column, so shorter means larger
  // files.
  double flush_seconds = 30.0;
  bool recorded_only = false;  // of each tree the root and the paths to recorded trajectories, nothing else
  int deflate = 1;             // gzip's level after shuffling, 0: none
  // Kept of the tokens' log-probabilities and entropies, which are rounded to nearest: relative error at most
  // 2^-(bits + 1). 23: all. Deflate shrinks what is rounded; columns with more than 16 bits are left alone.
  int mantissa_bits = 23;
};

class PartWriter {
 public:
  // Creates `path` (bad input if it exists); see part_path() in store/run_folder.h. `rank` is the world rank.
  PartWriter(const std::filesystem::path& path, const RunInfo& info, int rank, const PartParams& params = {});
  ~PartWriter();  // closes; never throws
  PartWriter(const PartWriter&) = delete;
  PartWriter& operator=(const PartWriter&) = delete;

  // A record that contradicts itself (token ranges, parents, leaves) is failure().
  void append(const TreeRecord& tree);
  void flush();  // readers see all trees appended so far
  void close();  // flushes; idempotent
  int64_t n_trees() const;
  double seconds_spent() const;  // in all calls together
  // Most the pending rows and HDF5's chunk caches have held. /trees waits for a flush, the rest for a chunk's worth.
  size_t memory_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What is wrong with a record's internal references, "" when nothing is.
std::string check_tree_record(const TreeRecord& tree);

}  // namespace deepsearch
