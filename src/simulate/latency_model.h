// What stands for an engine in a simulation: contents from a function, time from a model.
#pragma once

#include <cstdint>
#include <functional>

#include "search/step_generator.h"

namespace deepsearch {

// What a request is answered with.
using ExpansionScript = std::function<Expansion(const ExpansionRequest&)>;

// What a decode step costs, seconds.
struct LatencyModel {
  double step_seconds = 0.01;          // each decode step of the batch
  double sequence_seconds = 0.0;       // per sequence in it
  double prefill_token_seconds = 0.0;  // per prefix token computed
  int64_t max_batch = 256;
};

}  // namespace deepsearch
