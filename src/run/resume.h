// Finding out, at the start, where an earlier attempt of a run left off.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/tree_record.h"
#include "model/weights.h"
#include "run/checkpoint_state.h"
#include "run/config.h"

namespace deepsearch {

// The state of a run that begins: nothing done, and what must not change while it goes on.
RunState first_state(const Config& config, const ModelWeights& start, int64_t learners);

struct ResumePoint {
  std::optional<int64_t> step;  // of the checkpoint; none: the earlier attempt ended before its first
  RunState state;
  std::vector<TreeRecord> finished;
  std::vector<std::string> remarks;  // for the log: broken checkpoints, keys that changed
};

// The newest whole checkpoint below `run`, checked against what the run is now (`now`: first_state of this attempt).
// Leftovers of a broken-off write are removed. bad_input: checkpoints but none whole; another configuration, base
// policy or problem file; damage that checksums do not show. One process calls it.
ResumePoint find_resume_point(const std::filesystem::path& run, const Config& config, const RunState& now);

}  // namespace deepsearch
