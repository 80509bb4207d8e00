// The optimiser's state in a checkpoint: a part for each learner rank that held one,
//
//   resume/learner-00-of-02.json         updates, and how parameters lie in the parts
//   resume/learner-00-of-02.safetensors  "master", "mean", "variance": fp32 [values of the part]
//
// read back for any number of learners: each takes the values of its own part from whatever parts there are.
#pragma once

#include <filesystem>

#include "learn/optimizer_state.h"

namespace deepsearch {

// Into an existing folder checkpoint/resume. Each rank that has a part of its own calls it.
void write_optimizer_state(const std::filesystem::path& checkpoint, const OptimizerState& state);

// The state for the rank whose layout (without values) is `mine`. bad_input that names the file: not there, damaged,
// parts that do not belong together, or of other parameters than `mine`.
OptimizerState read_optimizer_state(const std::filesystem::path& checkpoint, const OptimizerState& mine);

// Parts there are: of how many learner ranks the state is. bad_input when there are none, or only some.
int64_t optimizer_parts(const std::filesystem::path& checkpoint);

}  // namespace deepsearch
