// deepsearch submit: checks a run, writes its folder, and queues it with Slurm.
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>

#include "cluster/slurm.h"
#include "commands/commands.h"
#include "commands/submission.h"
#include "core/error.h"
#include "core/files.h"
#include "sweep/status.h"

namespace deepsearch {

namespace {

namespace fs = std::filesystem;

struct Options : Submission {
  std::string config_path;
  std::vector<std::string> overrides;
  std::string run;
  bool resume = false;
};

void check_folder(const fs::path& run, bool resume) {
  if (fs::exists(run) && !fs::is_directory(run))
    bad_input("{}: a run's folder is needed, this is a file", run.string());
  const fs::path record = run / "log" / "job";
  if (fs::exists(record)) {
    const std::string id = read_file(record, 4096);
    const auto jobs = live_jobs();
    if (const auto job = jobs.find(id.substr(0, id.find('\n'))); job != jobs.end()) {
      bad_input("{}: job {} of this run is {} already; scancel it first", run.string(), job->first, job->second);
    }
  }
  if (!resume && fs::exists(run / "run.h5")) {
    bad_input("{}: a run is there{}; --resume goes on with it", run.string(), is_done(run) ? ", and it is done" : "");
  }
}

Job job_of(const Options& options, const Site& site, const fs::path& run) {
  Job job;
  job.name = "deepsearch-" + run.filename().string();
  job.nodes = options.nodes;
  job.learner_nodes = options.learner_nodes;
  job.output = (run / "log" / "slurm-%j.txt").string();
  job.folder = fs::current_path().string();
  job.home = job_home().string();
  job.program = own_program().string();
  job.requeue = options.pieces == 0;
  job.arguments = {options.config_path, run.string()};
  for (const std::string& override : options.overrides) job.arguments.insert(job.arguments.end(), {"--set", override});
  if (const std::string more = learners_override(site, job); !more.empty())
    job.arguments.insert(job.arguments.end(), {"--set", more});
  return job;
}

// --pieces: jobs one after another instead of one that requeues itself.
std::string queue(const Options& options, const Site& site, Job job, const fs::path& run) {
  const fs::path script = run / "log" / "job.sbatch";
  const double checkpoint = last_checkpoint_seconds(run);
  std::string first;
  for (int64_t piece = 0; piece < std::max<int64_t>(1, options.pieces); ++piece) {
    write_file_atomically(script, script_of(site, job, checkpoint, "train.sbatch"));
    const std::string id = queue_job(script);
    if (first.empty()) first = id;
    write_file_atomically(run / "log" / "job", id + "\n");
    job.dependency = "afterany:" + id;
  }
  return first;
}

int submit(const Options& options) {
  const Site site = options.site();
  const fs::path run = place_of(site, options.run);
  const Job job = job_of(options, site, run);
  std::vector<std::string> overrides = options.overrides;
  if (const std::string more = learners_override(site, job); !more.empty()) overrides.push_back(more);
  const Config config = read_config(options.config_path, overrides);
  check_job(site, job, config, run);
  const std::string script = script_of(site, job, last_checkpoint_seconds(run), "train.sbatch");
  const bool colocated = config.ranks.mode == "colocated";
  const std::vector<std::string> map = rank_map_of(site, job, config.ranks.learners, colocated);
  if (options.dry_run) {
    fmt::print("{}\n# {} ranks:\n", script, job.ranks(site));
    for (const std::string& line : map) fmt::print("# {}\n", line);
    return kExitOk;
  }
  if (!has_slurm()) bad_input("sbatch is not found: this is no machine of a Slurm cluster; jobs/train.sh runs it here");
  check_modules(site);
  check_folder(run, options.resume);
  const bool fresh = !fs::exists(run);
  create_folders(run / "log");
  const fs::path trial = run / "log" / "job.sbatch";
  write_file_atomically(trial, script);
  try {
    test_job(trial);
  } catch (const Error&) {
    if (fresh) fs::remove_all(run);
    throw;
  }
  fs::remove(run / "log" / "done");
  fs::remove(run / "log" / "failures");
  const std::string id = queue(options, site, job, run);
  fmt::print("job {}: {} ranks on {} nodes, {}\n", id, job.ranks(site), job.nodes + job.learner_nodes, run.string());
  for (const std::string& line : map) fmt::print("  {}\n", line);
  fmt::print("watch it:  squeue -j {0}\n           tail -F {1}/log/latest/output.txt\n           {2} inspect {1}\n", id,
             run.string(), job.program);
  fmt::print("end it:    scancel {0}      checkpoint now and go on: scancel --batch --signal={1} {0}\n", id,
             site.signal);
  return kExitOk;
}

}  // namespace

void add_submit(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("submit", "Check a training run, write its folder, and queue it with Slurm (docs/slurm.md)");
  command->add_option("config", options->config_path, "TOML file")->required();
  command->add_option("--run", options->run, "Folder the run is written to, on a file system all nodes share")
      ->required();
  command->add_option("--set", options->overrides, "Override a key, e.g. --set search.width=4")
      ->allow_extra_args(false);
  command->add_flag("--resume", options->resume, "Go on with the run in that folder");
  options->add_options(*command);
  command
      ->add_option("--pieces", options->pieces,
                   "So many jobs, each after the one before it, for sites that let no job requeue itself")
      ->check(CLI::Range(1, 1000));
  command->callback([options, &line] { line.chosen = [options] { return submit(*options); }; });
}

}  // namespace deepsearch
