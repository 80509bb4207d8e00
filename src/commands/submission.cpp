#include "commands/submission.h"

#include <algorithm>
#include <cstdlib>

#include <CLI/CLI.hpp>

#include "cluster/slurm.h"
#include "commands/plan_input.h"
#include "core/error.h"
#include "core/files.h"
#include "core/subprocess.h"
#include "run/checkpoint_folder.h"
#include "run/checkpoint_state.h"
#include "run/domain.h"
#include "run/setup.h"
#include "run/time_budget.h"

namespace deepsearch {

namespace {

namespace fs = std::filesystem;

void check_memory(const Site& site, const Job& job, const Config& config, int64_t ranks) {
  PlanRequest request;
  request.ranks = ranks;
  request.hardware = site.nodes.hardware;
  const int64_t nodes = job.nodes + job.learner_nodes;
  const int64_t gpus = job.nodes * site.nodes.gpus_per_node + job.learner_nodes * site.learners.gpus_per_node;
  request.devices = std::min(ranks, gpus > 0 ? gpus : nodes);
  if (site.nodes.memory_gb > 0 && gpus == 0) {
    request.hardware_keys.push_back(fmt::format("memory_gb={}", site.nodes.memory_gb));
  }
  const std::string problem = what_does_not_fit(plan_input(request, config));
  if (!problem.empty()) bad_input("does not fit: {}", problem);
}

void check_disk(const Config& config, const fs::path& folder, int64_t runs) {
  const ModelConfig model = config.model.path.empty() ? model_config_of(config.model, *make_domain(config).language)
                                                      : open_model(config.model.path)->model_config();
  // 16 bytes a parameter each, and two at the moment one takes another's place.
  int64_t kept = config.run.keep_checkpoints;
  if (kept == 0) {
    kept = config.learn.checkpoint_every > 0 ? config.learn.steps / config.learn.checkpoint_every : 1;
  } else if (config.run.keep_every > 0) {
    kept += config.learn.steps / config.run.keep_every;
  }
  const double wanted = 16.0 * static_cast<double>(parameter_count(model)) * static_cast<double>((kept + 2) * runs);
  fs::path there = folder;
  while (!fs::exists(there) && there != there.parent_path()) there = there.parent_path();
  std::error_code error;
  const fs::space_info space = fs::space(there, error);
  if (!error && wanted > static_cast<double>(space.available)) {
    bad_input(
        "{}: {} checkpoints of {:.1f} GB are {:.1f} GB, and {:.1f} GB are free: [run].keep_checkpoints keeps fewer",
        there.string(), (kept + 2) * runs, 16e-9 * static_cast<double>(parameter_count(model)), wanted / 1e9,
        static_cast<double>(space.available) / 1e9);
  }
}

}  // namespace

void Submission::add_options(CLI::App& command) {
  command.add_option("--site", site_path, "The site's profile; default: $DEEPSEARCH_SITE, or slurm/site.toml");
  command.add_option("--site-set", site_overrides, "Override a key of it, e.g. nodes.partition=gpu")
      ->allow_extra_args(false);
  command.add_option("--nodes", nodes, "Nodes; in a heterogeneous job those that search")
      ->check(CLI::Range(1, 1 << 20));
  command.add_option("--learner-nodes", learner_nodes, "Further nodes of [learner_nodes], whose ranks learn")
      ->check(CLI::Range(1, 1 << 20));
  command.add_option("--time", time, "Time limit of a job, HH:MM:SS; default: the site's");
  command.add_flag("--dry-run", dry_run, "Print the job's script and the rank map; queue and write nothing");
}

Site Submission::site() const {
  std::string path = site_path;
  if (const char* named = std::getenv("DEEPSEARCH_SITE"); path.empty() && named != nullptr) path = named;
  if (path.empty() && fs::exists(job_home() / "slurm" / "site.toml")) {
    path = (job_home() / "slurm" / "site.toml").string();
  }
  Site site = read_site(path, site_overrides);
  if (!time.empty()) site.time = time;
  return site;
}

void check_job(const Site& site, const Job& job, const Config& config, const fs::path& folder, int64_t runs) {
  const int64_t ranks = job.ranks(site);
  const bool colocated = config.ranks.mode == "colocated";
  if (job.learner_nodes > 0 && colocated) bad_input("--learner-nodes needs [ranks].mode = \"partitioned\"");
  if (job.learner_nodes > 0 && site.launcher == "mpirun") {
    bad_input("--learner-nodes makes a heterogeneous job, which mpirun cannot start: [site].launcher = \"srun\"");
  }
  const bool apart = ranks > 1 && !colocated;
  if (apart && config.ranks.learners >= ranks) {
    bad_input("[ranks].learners = {} of {} ranks ({} nodes) leaves none to search", config.ranks.learners, ranks,
              job.nodes);
  }
  check_layout(config, apart ? ranks - config.ranks.learners : ranks, apart);
  check_memory(site, job, config, ranks);
  check_disk(config, folder, runs);
  check_place(site, folder);
}

void check_place(const Site& site, const fs::path& folder) {
  if (const std::string why = why_node_local(folder, site.node_local); !why.empty()) {
    bad_input("{}: no place for a run: {}; a folder that all nodes share is wanted", folder.string(), why);
  }
}

void check_modules(const Site& site) {
  if (const std::string why = why_no_modules(site.modules); !why.empty()) {
    bad_input("[site].modules = \"{}\": {}", shell_words(site.modules), why);
  }
}

std::string learners_override(const Site& site, const Job& job) {
  return job.learner_nodes > 0 ? fmt::format("ranks.learners={}", job.learner_node_ranks(site)) : "";
}

double last_checkpoint_seconds(const fs::path& run) {
  const std::vector<int64_t> steps = checkpoint_steps(run);
  if (steps.empty()) return 0;
  try {
    return read_run_state(checkpoint_path(run, steps.back())).checkpoint_seconds;
  } catch (const Error&) {
    return 0;  // a broken one: the run itself says so
  }
}

std::string script_of(const Site& site, const Job& job, double checkpoint_seconds, const std::string& name) {
  const double limit = parse_duration(site.time, "[site].time or --time");
  const int64_t grace = grace_of(site, limit, checkpoint_seconds);
  return job_script(site, job, grace, read_file(fs::path(job.home) / "slurm" / name, 1 << 20));
}

fs::path place_of(const Site& site, const std::string& named) {
  const fs::path path(named);
  if (path.is_relative() && !site.scratch.empty()) return fs::absolute(fs::path(site.scratch) / path);
  return fs::weakly_canonical(fs::absolute(path));
}

}  // namespace deepsearch
