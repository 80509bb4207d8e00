// A Slurm job as text: its header by the site's profile, what is set before it, and the body of a file of slurm/. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster/site.h"

namespace deepsearch {

struct Job {
  std::string name = "deepsearch";
  int64_t nodes = 1;
  int64_t learner_nodes = 0;  // > 0: a heterogeneous job, these in a group of their own, with the last ranks
  std::string output;         // of the job script itself; %j, %A, %a are Slurm's
  std::string folder;         // it runs in
  std::string home;           // above slurm/: DEEPSEARCH_HOME
  std::string program;        // DEEPSEARCH
  std::string array;          // "0-11%4"; "": no array
  std::string dependency;     // "afterany:17"; "": none
  bool requeue = true;        // it requeues itself
  std::vector<std::string> environment = {};  // NAME=value, beside the site's
  std::vector<std::string> arguments = {};    // of the body

  int64_t search_node_ranks(const Site& site) const { return nodes * site.nodes.tasks_per_node; }
  int64_t learner_node_ranks(const Site& site) const { return learner_nodes * site.learners.tasks_per_node; }
  int64_t ranks(const Site& site) const { return search_node_ranks(site) + learner_node_ranks(site); }
};

// `grace` in seconds: what #SBATCH --signal asks for.
std::string job_header(const Site& site, const Job& job, int64_t grace);

// `body`: a file of slurm/, of which all below its line "# --- what follows" is taken. bad_input where it has none.
std::string job_script(const Site& site, const Job& job, int64_t grace, const std::string& body);

// A line a node (above 16 nodes, a line for all that are alike): which ranks it will have and what they do. The last
// `learners` ranks learn; `colocated`: all do both.
std::vector<std::string> rank_map_of(const Site& site, const Job& job, int64_t learners, bool colocated);

// The time before the limit at which the job is told: at least the site's, and where the last checkpoint's time is
// known (> 0) twice that and 30 s for closing files; bad_input when that leaves less than half of the time limit.
int64_t grace_of(const Site& site, double limit_seconds, double checkpoint_seconds);

}  // namespace deepsearch
