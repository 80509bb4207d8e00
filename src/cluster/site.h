// A site's profile: what jobs of one cluster have in common, as TOML (slurm/site.toml explains every key). Plain
// values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config_visitor.h"

namespace deepsearch {

// A kind of node, and what a job takes of it.
struct NodeKind {
  std::string partition;
  std::string constraint;
  int64_t tasks_per_node = 4;
  int64_t cpus_per_task = 1;
  int64_t gpus_per_node = 0;
  double memory_gb = 0;          // of a host, 10⁹ bytes; 0: as much as this machine has
  std::string hardware = "cpu";  // of `deepsearch plan`

  void describe(ConfigVisitor& v);
};

struct Site {
  std::string account;
  std::string qos;
  std::string time = "01:00:00";
  std::string signal = "USR1";
  int64_t grace_seconds = 120;
  std::vector<std::string> sbatch;
  std::vector<std::string> modules;
  std::vector<std::string> environment;
  std::string launcher = "srun";
  std::string mpi = "pmix";
  std::string launcher_options;
  std::string network;
  std::string scratch;
  std::vector<std::string> node_local = {"/tmp", "/var/tmp", "/dev/shm", "/run"};
  NodeKind nodes;     // search ranks, and learners where they are not apart
  NodeKind learners;  // of a heterogeneous job's second group

  void describe(ConfigVisitor& v);
};

// bad_input for what no job could start with. `path` "": defaults.
Site read_site(const std::string& path, const std::vector<std::string>& overrides);

}  // namespace deepsearch
