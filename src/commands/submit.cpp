// deepsearch submit: checks a run, or a chain filter → train → evaluate, writes its folder, and queues it with Slurm.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

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
  std::vector<std::string> stage_overrides;  // "STAGE:KEY=VALUE"
  std::vector<std::string> stages = {"train"};
  std::string model;
  std::string run;
  bool resume = false;
  const CLI::App* program = nullptr;  // to ask for its commands
};

// One job of a chain; most often the only one.
struct Stage {
  std::string name;  // a command of this program, and slurm/NAME.sbatch
  fs::path run;
  Job job;
  Config config;
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

fs::path folder_of(const Options& options, const fs::path& run, const std::string& stage) {
  return options.stages.size() > 1 ? run / stage : run;
}

// "STAGE:KEY=VALUE" of this stage; "{STAGE}" in the value is that stage's folder.
std::vector<std::string> overrides_of(const Options& options, const fs::path& run, const std::string& stage) {
  std::vector<std::string> overrides = options.overrides;
  for (const std::string& entry : options.stage_overrides) {
    const size_t colon = entry.find(':');
    const std::string name = entry.substr(0, colon);
    if (colon == std::string::npos || entry.find('=', colon) == std::string::npos ||
        std::find(options.stages.begin(), options.stages.end(), name) == options.stages.end()) {
      bad_input("--stage-set {}: STAGE:KEY=VALUE is wanted, with a stage of --stages", entry);
    }
    if (name != stage) continue;
    std::string text = entry.substr(colon + 1);
    for (const std::string& other : options.stages) {
      const std::string braced = "{" + other + "}";
      const std::string folder = folder_of(options, run, other).string();
      for (size_t at = text.find(braced); at != std::string::npos; at = text.find(braced, at + folder.size())) {
        text.replace(at, braced.size(), folder);
      }
    }
    overrides.push_back(text);
  }
  return overrides;
}

std::string model_of(const Options& options, const fs::path& run) {
  const auto trained = std::find(options.stages.begin(), options.stages.end(), "train");
  if (trained != options.stages.end()) {
    if (!options.model.empty()) bad_input("--model: what the stage train makes is evaluated: leave --model out");
    return folder_of(options, run, "train").string();
  }
  if (options.model.empty()) bad_input("--model is missing: the model, or the training run, that is evaluated");
  const fs::path model = fs::weakly_canonical(fs::absolute(options.model));
  if (!fs::exists(model / "config.json") && !fs::exists(model / "checkpoints")) {
    bad_input("--model {}: no model is there (config.json is missing), and no training run", model.string());
  }
  return model.string();
}

Stage stage_of(const Options& options, const Site& site, const fs::path& run, const std::string& name) {
  Stage stage{.name = name, .run = folder_of(options, run, name), .job = {}, .config = {}};
  Job& job = stage.job;
  job.name = "deepsearch-" + run.filename().string() + (options.stages.size() > 1 ? "-" + name : "");
  job.nodes = options.nodes;
  job.learner_nodes = name == "train" ? options.learner_nodes : 0;
  job.output = (stage.run / "log" / "slurm-%j.txt").string();
  job.folder = fs::current_path().string();
  job.home = job_home().string();
  job.program = own_program().string();
  job.requeue = options.pieces == 0;
  job.arguments = {options.config_path, stage.run.string()};
  if (name == "evaluate") job.arguments.push_back(model_of(options, run));
  std::vector<std::string> overrides = overrides_of(options, run, name);
  if (const std::string more = learners_override(site, job); !more.empty()) overrides.push_back(more);
  for (const std::string& override : overrides) job.arguments.insert(job.arguments.end(), {"--set", override});
  stage.config = read_config(options.config_path, overrides);
  return stage;
}

void check_stage(const Options& options, const Site& site, const Stage& stage) {
  if (stage.name == "train") {
    check_job(site, stage.job, stage.config, stage.run);
    return;
  }
  const auto has_name = [&](const CLI::App* command) { return command->get_name() == stage.name; };
  if (options.program->get_subcommands(has_name).empty()) {
    bad_input("--stages {}: this program has no such command", stage.name);
  }
  check_place(site, stage.run);
}

std::vector<Stage> stages_of(const Options& options, const Site& site, const fs::path& run) {
  static const std::vector<std::string> order = {"filter", "train", "evaluate"};
  std::vector<Stage> stages;
  auto from = order.begin();
  for (const std::string& name : options.stages) {
    const auto found = std::find(from, order.end(), name);
    if (found == order.end()) bad_input("--stages: some of filter,train,evaluate are wanted, in this order");
    from = found + 1;
    stages.push_back(stage_of(options, site, run, name));
    check_stage(options, site, stages.back());
  }
  if (stages.size() == 1 && stages.front().name != "train" && options.learner_nodes > 0) {
    bad_input("--learner-nodes: {} has no learners", stages.front().name);
  }
  if (!options.model.empty() && options.stages.back() != "evaluate") bad_input("--model is for the stage evaluate");
  return stages;
}

std::vector<std::string> rank_map(const Site& site, const Stage& stage) {
  const bool all_alike = stage.name != "train" || stage.config.ranks.mode == "colocated";
  if (stage.name == "train") return rank_map_of(site, stage.job, stage.config.ranks.learners, all_alike);
  return {fmt::format("{} node{}, ranks 0-{}: all alike", stage.job.nodes, stage.job.nodes == 1 ? "" : "s",
                      stage.job.ranks(site) - 1)};
}

std::string script_of(const Site& site, const Stage& stage, const Job& job) {
  return script_of(site, job, last_checkpoint_seconds(stage.run), stage.name + ".sbatch");
}

int print_scripts(const Site& site, const std::vector<Stage>& stages) {
  for (const Stage& stage : stages) {
    fmt::print("{}\n# {} ranks:\n", script_of(site, stage, stage.job), stage.job.ranks(site));
    for (const std::string& line : rank_map(site, stage)) fmt::print("# {}\n", line);
    if (&stage != &stages.back()) fmt::print("\n# ==== and when that is done:\n\n");
  }
  return kExitOk;
}

// Writes each stage's folder and asks Slurm; nothing of it stays when one is refused.
void try_stages(const Site& site, const std::vector<Stage>& stages, const fs::path& run) {
  const bool fresh = !fs::exists(run);
  try {
    for (const Stage& stage : stages) {
      create_folders(stage.run / "log");
      const fs::path trial = stage.run / "log" / "job.sbatch";
      write_file_atomically(trial, script_of(site, stage, stage.job));
      test_job(trial);
    }
  } catch (const Error&) {
    if (fresh) fs::remove_all(run);
    throw;
  }
}

// The first and the last job of a stage that begins after `dependency`. --pieces: several, one after another, instead
// of one that requeues itself.
std::pair<std::string, std::string> queue(const Site& site, const Stage& stage, int64_t pieces,
                                          const std::string& dependency) {
  const fs::path script = stage.run / "log" / "job.sbatch";
  Job job = stage.job;
  job.dependency = dependency;
  std::pair<std::string, std::string> jobs;
  for (int64_t piece = 0; piece < std::max<int64_t>(1, pieces); ++piece) {
    write_file_atomically(script, script_of(site, stage, job));
    jobs.second = queue_job(script);
    if (jobs.first.empty()) jobs.first = jobs.second;
    write_file_atomically(stage.run / "log" / "job", jobs.second + "\n");
    job.dependency = "afterany:" + jobs.second;
  }
  return jobs;
}

int submit(const Options& options) {
  const Site site = options.site();
  const fs::path run = place_of(site, options.run);
  const std::vector<Stage> stages = stages_of(options, site, run);
  if (options.dry_run) return print_scripts(site, stages);
  if (!has_slurm()) bad_input("sbatch is not found: this is no machine of a Slurm cluster; jobs/train.sh runs it here");
  check_modules(site);
  for (const Stage& stage : stages) check_folder(stage.run, options.resume);
  try_stages(site, stages, run);
  std::string dependency;
  for (const Stage& stage : stages) {
    fs::remove(stage.run / "log" / "done");
    fs::remove(stage.run / "log" / "failures");
    const auto [id, last] = queue(site, stage, options.pieces, dependency);
    dependency = "afterok:" + last;
    fmt::print("job {}: {}{} ranks on {} nodes, {}\n", id, stages.size() > 1 ? stage.name + ", " : "",
               stage.job.ranks(site), stage.job.nodes + stage.job.learner_nodes, stage.run.string());
    for (const std::string& line : rank_map(site, stage)) fmt::print("  {}\n", line);
    fmt::print("watch it:  squeue -j {0}\n           tail -F {1}/log/latest/output.txt\n           {2} inspect {1}\n",
               id, stage.run.string(), stage.job.program);
    fmt::print("end it:    scancel {0}      checkpoint now and go on: scancel --batch --signal={1} {0}\n", id,
               site.signal);
  }
  return kExitOk;
}

}  // namespace

void add_submit(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  options->program = &app;
  CLI::App* command =
      app.add_subcommand("submit", "Check a training run, write its folder, and queue it with Slurm (docs/slurm.md)");
  command->add_option("config", options->config_path, "TOML file")->required();
  command->add_option("--run", options->run, "Folder the run is written to, on a file system all nodes share")
      ->required();
  command->add_option("--set", options->overrides, "Override a key, e.g. --set search.width=4")
      ->allow_extra_args(false);
  command
      ->add_option("--stages", options->stages,
                   "Some of filter,train,evaluate: a job each, after the one before it has succeeded; several have "
                   "folders of their names in DIR of --run")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      ->add_option("--stage-set", options->stage_overrides,
                   "Override a key for one stage: STAGE:KEY=VALUE; {STAGE} in it is that stage's folder")
      ->allow_extra_args(false);
  command->add_option("--model", options->model,
                      "What is evaluated, where no stage trains: a model, or a training run");
  command->add_flag("--resume", options->resume, "Go on with the run in that folder");
  options->add_options(*command);
  command
      ->add_option("--pieces", options->pieces,
                   "So many jobs, each after the one before it, for sites that let no job requeue itself")
      ->check(CLI::Range(1, 1000));
  command->callback([options, &line] { line.chosen = [options] { return submit(*options); }; });
}

}  // namespace deepsearch
