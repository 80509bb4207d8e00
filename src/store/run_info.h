// What every file of a run says about the run. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace deepsearch {

struct RunInfo {
  std::string config_text;  // resolved TOML
  uint64_t seed = 0;
  std::string revision;            // git
  std::string rank_layout;         // "2 search, 1 learner"
  std::vector<std::string> hosts;  // by rank
  std::vector<std::string> roles;  // by rank
  std::string command_line;
  std::string job_id;     // Slurm's, or ""
  std::string libraries;  // beside HDF5, which the writers add: "Open MPI 4.1.4, LibTorch 2.11.0"
};

}  // namespace deepsearch
