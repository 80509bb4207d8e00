// A rank's part of an optimiser's state as plain values. No LibTorch.
#pragma once

#include <cstdint>
#include <vector>

namespace deepsearch {

// What a rank must save to go on later: its part of the master weights and moments, on the host. Unsharded, every
// rank's is the whole.
struct OptimizerState {
  int64_t updates = 0;
  int64_t skipped_in_a_row = 0;
  int64_t rank = 0;                 // whose part; 0 when unsharded
  int64_t ranks = 1;                // parts there are; 1 when unsharded
  std::vector<int64_t> parameters;  // values of each
  std::vector<int64_t> offsets;     // where each begins in the flat buffer, which the buckets cut up one after another
  std::vector<int64_t> buckets;     // values of each, padding included
  std::vector<float> master;
  std::vector<float> mean;
  std::vector<float> variance;
};

}  // namespace deepsearch
