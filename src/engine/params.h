// [engine]: how the policy is run for sampling.
#pragma once

#include <cstdint>
#include <string>

#include "core/config_visitor.h"

namespace deepsearch {

struct EngineParams {
  std::string backend = "auto";  // native (CPU kernels, batch-invariant), torch (LibTorch, any device), auto
  std::string device = "auto";   // cpu, cuda, auto (cuda when the rank owns a GPU)
  int64_t max_batch = 256;       // sequences decoded together
  int64_t threads = 1;           // CPU threads a rank
  int64_t distinct_tries = 8;    // times a duplicate child is sampled again before it is dropped

  void describe(ConfigVisitor& v);
};

}  // namespace deepsearch
