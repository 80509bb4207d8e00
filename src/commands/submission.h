// What the commands that queue jobs share: the site, the checks before anything is queued, and job scripts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cluster/job.h"
#include "cluster/site.h"
#include "run/config.h"

namespace CLI {
class App;
}

namespace deepsearch {

struct Submission {
  std::string site_path;  // "": $DEEPSEARCH_SITE, or slurm/site.toml
  std::vector<std::string> site_overrides;
  int64_t nodes = 1;
  int64_t learner_nodes = 0;
  std::string time;  // "": the site's
  bool dry_run = false;
  int64_t pieces = 0;

  void add_options(CLI::App& command);
  Site site() const;
};

// Checked against the ranks that the job will have; bad_input in one line that says what does not go: layout, memory,
// disk, a folder that nodes do not share. `runs` runs lie below `folder` (a sweep's), or 1.
void check_job(const Site& site, const Job& job, const Config& config, const std::filesystem::path& folder,
               int64_t runs = 1);
void check_place(const Site& site, const std::filesystem::path& folder);  // its last part: a folder that nodes share
void check_modules(const Site& site);

// The ranks that learn: of a heterogeneous job those of the second group.
std::string learners_override(const Site& site, const Job& job);  // "" or "ranks.learners=N"

// How long the newest checkpoint of `run` took; 0: none.
double last_checkpoint_seconds(const std::filesystem::path& run);

// Reads slurm/NAME and puts the header above it.
std::string script_of(const Site& site, const Job& job, double checkpoint_seconds, const std::string& name);

// Where a run goes: `named`, below the site's scratch when that is given and the name is relative. Absolute.
std::filesystem::path place_of(const Site& site, const std::string& named);

}  // namespace deepsearch
