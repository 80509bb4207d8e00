// The warm start as ranks run it: a base policy from the task's generated demonstrations, `deepsearch sft` without
// --data.
#pragma once

#include <filesystem>

#include "comm/world.h"
#include "run/config.h"

namespace deepsearch {

// Collective over all ranks of `world`, which all learn (roles assigned). Rank 0 speaks and writes the model folder
// `out`, or nothing where a stop signal reached any rank. Returns the exit code; errors are AgreedError.
int run_warm_start(World& world, const Config& config, const std::filesystem::path& out);

}  // namespace deepsearch
