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
  std::filesystem::path log_folder;  // of rank-NNNN.log; "": run_folder/log
  bool force = false;                // replace an earlier run in that folder
  bool resume = false;               // go on with it from its newest checkpoint
  std::string command_line;
  std::string phase = "set-up";  // kept current by run_train: what an error message names
};

// Set-up, training loop, end. Returns the exit code: 0; 75 when the run was stopped by SIGTERM, SIGUSR1 or its time
// limit and can go on (request.resume), 130 when by SIGINT. Start-up errors are agreed on by all ranks before anything
// is written, then thrown on each.
int run_train(World& world, TrainRequest& request);

}  // namespace deepsearch
