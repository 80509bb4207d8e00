// `deepsearch evaluate`: benchmarks answered by a policy, on whatever ranks the world has; all of them sample.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "comm/world.h"
#include "run/config.h"

namespace deepsearch {

struct EvaluateRequest {
  std::string config_path;  // "": defaults, or the configuration of `checkpoint`'s run
  std::vector<std::string> overrides;
  std::filesystem::path model;       // a model folder, as [model].path
  std::filesystem::path checkpoint;  // or a run (its newest checkpoint) or one checkpoint's folder
  std::filesystem::path benchmarks;  // as [evaluate].folder
  std::filesystem::path run_folder;
  std::filesystem::path log_folder;  // of rank-NNNN.log; "": run_folder/log
  bool force = false;
  bool resume = false;
  std::string command_line;
  std::string phase = "set-up";  // kept current: what an error message names
};

// The configuration that it runs with: [search] follows [evaluate]. bad_input as read_config, for ks above the samples
// and for lengths that steps do not divide.
Config evaluation_config(const EvaluateRequest& request);

// Set-up, sampling, scores. The exit code is that of run_train: 0; 75 or 130 where it was stopped, and can go on with
// request.resume. Errors of set-up are agreed on by all ranks.
int run_evaluate(World& world, EvaluateRequest& request);

}  // namespace deepsearch
