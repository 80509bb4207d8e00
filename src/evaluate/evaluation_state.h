// RUN/evaluation.json: which model and which files an evaluation is of, so that it is gone on with by the same only.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "evaluate/benchmarks.h"
#include "run/config.h"

namespace deepsearch {

// The text of the file; reads the model folder's files whole.
std::string evaluation_state(const Config& config, const std::vector<Benchmark>& benchmarks);

// bad_input where a run in `folder`, made with the configuration in its config.toml, cannot be gone on with: the first
// key that makes other samples, another model, other problems. `state` is evaluation_state of now.
void check_same_evaluation(const std::filesystem::path& folder, const Config& config, const std::string& state);

}  // namespace deepsearch
