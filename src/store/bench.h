// `deepsearch bench store`: what appending trees to a part costs, beside what the file system and memory can do.
#pragma once

#include <cstdint>
#include <filesystem>

#include "store/part_writer.h"

namespace deepsearch {

struct StoreBenchParams {
  std::filesystem::path folder = ".";  // where the file is written, and removed again
  int64_t trees = 400;
  int64_t nodes = 1000;      // of a tree
  int64_t step_tokens = 10;  // of a node
  int64_t vocabulary = 150000;
  PartParams part;
};

struct StoreBenchResult {
  int64_t nodes = 0;
  int64_t tokens = 0;
  double seconds = 0;      // appending and closing, one thread
  double cpu_seconds = 0;  // the same, without waiting for the disk
  double bytes = 0;        // of the file
  double token_bytes = 0;  // of /tokens on disk, without its policy versions, a token
  double version_bytes = 0;
  double node_bytes = 0;    // of /nodes and /events on disk, a node
  double memory_bytes = 0;  // buffers at most, see PartWriter::memory_bytes
  double write_gbs = 0;     // of write(2) to the same folder, fsync included
  double memcpy_gbs = 0;
};

// Bad input: the folder cannot be written to.
StoreBenchResult bench_store(const StoreBenchParams& params);

}  // namespace deepsearch
