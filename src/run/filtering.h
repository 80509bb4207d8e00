// `deepsearch filter`: the filter of a round as a job of its own. All ranks sample; the result is a problem file of
// what is hard, which [problems].train_file reads.
//
//   FOLDER/problems.jsonl   the hard problems, each with its pass_rate and the number of the filter's round
//          summary.json     how many passed how often, and what it took
//          filter.bin       how far it has come: with --resume the filter goes on
//          log/             of each rank
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "comm/world.h"

namespace deepsearch {

struct FilterRequest {
  std::string config_path;  // "": defaults
  std::vector<std::string> overrides;
  std::filesystem::path folder;
  std::string model;  // "": [model].path
  bool resume = false;
  std::filesystem::path log_folder = {};  // "": log/ of the folder
  std::string phase = "set-up";
};

// 0; 75 or 130 when it was stopped between two waves and can go on. bad_input: a folder with a filter, without
// `resume`; or with the filter of another configuration, policy or set of problems. Collective; errors as run_train's.
int run_filter(World& world, FilterRequest& request);

}  // namespace deepsearch
