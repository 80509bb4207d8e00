// `deepsearch train`: a whole run, on whatever ranks the world has.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "comm/world.h"
#include "run/config.h"

namespace deepsearch {

struct TrainRequest {
  std::string config_path;  // "": defaults
  std::vector<std::string> overrides;
  std::filesystem::path run_folder;
  bool force = false;  // replace an earlier run in that folder
  std::string command_line;
  std::string phase = "set-up";  // kept current by run_train: what an error message names
};

// Set-up, training loop, end. Returns the exit code: 0, or 128 + signal when the run was stopped (its files are whole).
// Start-up errors are agreed on by all ranks before anything is written, then thrown on each.
int run_train(World& world, TrainRequest& request);

}  // namespace deepsearch
