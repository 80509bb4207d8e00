#include "cluster/site.h"

#include "core/config.h"
#include "core/error.h"

namespace deepsearch {

void NodeKind::describe(ConfigVisitor& v) {
  v.field({.key = "partition", .unit = "", .meaning = "Slurm's partition; \"\": the cluster's default"}, partition);
  v.field({.key = "constraint", .unit = "", .meaning = "features a node must have, as sbatch --constraint"},
          constraint);
  v.field({.key = "tasks_per_node", .unit = "ranks", .meaning = "MPI ranks on a node", .min = 1, .max = 4096},
          tasks_per_node);
  v.field({.key = "cpus_per_task", .unit = "CPUs", .meaning = "CPUs of a rank", .min = 1, .max = 4096}, cpus_per_task);
  v.field({.key = "gpus_per_node",
           .unit = "GPUs",
           .meaning = "GPUs of a node; 0: ranks compute on CPUs",
           .min = 0,
           .max = 64},
          gpus_per_node);
  v.field({.key = "memory_gb",
           .unit = "GB",
           .meaning = "a host's memory that a job may use, for the plan of jobs without GPUs; 0: this machine's",
           .min = 0},
          memory_gb);
  v.field({.key = "hardware",
           .unit = "",
           .meaning = "what the plan assumes: \"cpu\", \"a100\", \"h100\", \"h200\", or a file (docs/plan.md)"},
          hardware);
}

void Site::describe(ConfigVisitor& v) {
  v.table({.key = "site", .meaning = "what all jobs of this cluster have in common"}, [this](ConfigVisitor& t) {
    t.field({.key = "account", .unit = "", .meaning = "whom the time is charged to; \"\": Slurm's default"}, account);
    t.field({.key = "qos", .unit = "", .meaning = "quality of service; \"\": Slurm's default"}, qos);
    t.field({.key = "time", .unit = "HH:MM:SS", .meaning = "time limit of a job; the run goes on in the next"}, time);
    t.field({.key = "signal",
             .unit = "",
             .meaning = "sent to the job before its time limit: the run then writes a checkpoint",
             .choices = {"USR1", "USR2", "TERM", "INT"}},
            signal);
    t.field({.key = "grace_seconds",
             .unit = "s",
             .meaning = "how long before the limit that signal comes; where the run has a checkpoint, at least twice "
                        "what that took",
             .min = 10,
             .max = 65535},
            grace_seconds);
    t.field({.key = "sbatch", .unit = "", .meaning = "further options of sbatch, e.g. [\"--exclusive\"]"}, sbatch);
    t.field({.key = "modules", .unit = "", .meaning = "loaded in this order before the program starts"}, modules);
    t.field({.key = "environment", .unit = "", .meaning = "variables of the job, \"NAME=value\""}, environment);
    t.field({.key = "launcher", .unit = "", .meaning = "what starts the ranks", .choices = {"srun", "mpirun"}},
            launcher);
    t.field({.key = "mpi", .unit = "", .meaning = "srun --mpi=…, one of `srun --mpi=list` that the MPI was built for"},
            mpi);
    t.field({.key = "launcher_options", .unit = "", .meaning = "further words for srun or mpirun"}, launcher_options);
    t.field(
        {.key = "network",
         .unit = "",
         .meaning = "interface or subnet between nodes, where Open MPI picks a wrong one (\"ib0\", \"10.0.0.0/8\")"},
        network);
    t.field({.key = "scratch",
             .unit = "",
             .meaning = "shared folder in which run folders with a relative name are made; \"\": the current folder"},
            scratch);
    t.field({.key = "node_local", .unit = "", .meaning = "folders that each node has of its own: no run goes there"},
            node_local);
  });
  v.table({.key = "nodes", .meaning = "what a job takes; in a heterogeneous job its search nodes"},
          [this](ConfigVisitor& t) { nodes.describe(t); });
  v.table({.key = "learner_nodes", .meaning = "the learners' nodes of a heterogeneous job (--learner-nodes)"},
          [this](ConfigVisitor& t) { learners.describe(t); });
}

Site read_site(const std::string& path, const std::vector<std::string>& overrides) {
  Site site;
  load_config(
      path, overrides, [&](ConfigVisitor& v) { site.describe(v); }, "--site-set");
  const std::string where = path.empty() ? "site" : path;
  for (const std::string& entry : site.environment) {
    const size_t equals = entry.find('=');
    if (equals == 0 || equals == std::string::npos ||
        entry.substr(0, equals).find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") !=
            std::string::npos) {
      bad_input("{}: [site].environment: \"{}\": NAME=value is wanted", where, entry);
    }
  }
  for (const std::string& option : site.sbatch) {
    if (!option.starts_with("-") || option.find('\n') != std::string::npos) {
      bad_input("{}: [site].sbatch: \"{}\": an option such as \"--exclusive\" is wanted", where, option);
    }
  }
  return site;
}

}  // namespace deepsearch
