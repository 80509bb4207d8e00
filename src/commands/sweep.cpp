// deepsearch sweep: many runs that differ in some keys (docs/slurm.md, sweep/sweep.h).
#include <cmath>
#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "cluster/slurm.h"
#include "commands/commands.h"
#include "commands/submission.h"
#include "commands/sweep_folder.h"
#include "core/error.h"
#include "core/files.h"
#include "core/signals.h"
#include "core/subprocess.h"
#include "run/stopping.h"
#include "run/train.h"

namespace deepsearch {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Options : Submission {
  fs::path place;  // the sweep's file, or its folder
  std::string out;
  int64_t ranks = 1;
  int64_t at_once = 1;
  int64_t most = 0;
};

// The configuration of every point; bad_input names the point.
std::vector<Config> configs_of(const Sweep& sweep, const fs::path& file) {
  std::vector<Config> configs;
  for (const SweepPoint& point : sweep.points) {
    try {
      configs.push_back(read_config(point.config, point.overrides));
    } catch (const Error& error) {
      throw error.within(fmt::format("{}: point {}", file.string(), point.name));
    }
  }
  return configs;
}

std::vector<std::string> texts_of(const std::vector<Config>& configs) {
  std::vector<std::string> texts;
  for (const Config& config : configs) texts.push_back(config_text(config));
  return texts;
}

std::string place_named(const Options& options, const Sweep& sweep) {
  return options.out.empty() ? (fs::path("runs") / sweep.name).string() : options.out;
}

// Columns as wide as their longest entry.
void print_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    fmt::print("{}\n", line.substr(0, line.find_last_not_of(' ') + 1));
  }
}

int plan(const Options& options) {
  const Sweep sweep = read_sweep(options.place);
  configs_of(sweep, options.place);
  std::vector<std::vector<std::string>> rows = {{"point", "name"}};
  for (const auto& [key, unused] : sweep.points.front().values) rows.front().push_back(key);
  for (size_t i = 0; i < sweep.points.size(); ++i) {
    rows.push_back({std::to_string(i), sweep.points[i].name});
    for (const auto& [key, value] : sweep.points[i].values) rows.back().push_back(value);
  }
  print_table(rows);
  fmt::print("{} points", sweep.points.size());
  for (const int64_t rung : sweep.halving.rungs) {
    fmt::print("{} step {}",
               rung == sweep.halving.rungs.front() ? fmt::format("; the best {} goes on at", sweep.halving.keep) : ",",
               rung);
  }
  fmt::print("\n");
  return kExitOk;
}

int status(const Options& options) {
  const SweepFolder folder(options.place);
  const std::vector<RunStatus> all = folder.status();
  std::vector<std::vector<std::string>> rows = {
      {"point", "name", "state", "attempts", "step", "best Pass@1", "at step", ""}};
  for (size_t i = 0; i < all.size(); ++i) {
    const RunStatus& point = all[i];
    const bool scored = !std::isnan(point.best);
    rows.push_back({std::to_string(i), folder.sweep().points[i].name, to_string(point.state),
                    std::to_string(point.attempts), std::to_string(point.step),
                    scored ? fmt::format("{:.3f}", point.best) : "-", scored ? std::to_string(point.best_step) : "-",
                    point.reason});
  }
  print_table(rows);
  fmt::print("{}\n", summary(all));
  return kExitOk;
}

// --- here ------------------------------------------------------------------------------------------------------------

std::vector<std::string> command_of(const SweepFolder& folder, size_t point, int64_t ranks, int64_t target) {
  std::vector<std::string> words = {(job_home() / "slurm" / "attempt.sh").string(), folder.run_of(point).string()};
  if (ranks > 1) {
    const std::vector<std::string> launcher = {
        "mpirun", "--oversubscribe",    "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
        "-n",     std::to_string(ranks)};
    words.insert(words.end(), launcher.begin(), launcher.end());
  }
  words.insert(words.end(), {own_program().string(), "train", folder.config_of(point).string(), "--run",
                             folder.run_of(point).string(), "--resume"});
  if (target > 0) words.insert(words.end(), {"--set", fmt::format("run.stop_after={}", target)});
  return words;
}

// Runs the points, `at_once` of them side by side. False when a signal ended it.
bool run_points(const SweepFolder& folder, const std::vector<size_t>& points, int64_t ranks, int64_t at_once,
                int64_t target) {
  std::map<pid_t, size_t> running;
  size_t next = 0;
  bool told = false;
  std::vector<std::string> environment = {"DEEPSEARCH_QUIET=1", "DEEPSEARCH_REQUEUE=0"};
  if (target > 0) environment.push_back(fmt::format("DEEPSEARCH_UNTIL={}", target));
  while (!running.empty() || (next < points.size() && !stop_requested())) {
    while (next < points.size() && !stop_requested() && static_cast<int64_t>(running.size()) < at_once) {
      const size_t point = points[next++];
      fmt::print("{}: starts{}\n", folder.sweep().points[point].name,
                 target > 0 ? fmt::format(", up to step {}", target) : "");
      std::fflush(stdout);
      running[start_program(command_of(folder, point, ranks, target), environment)] = point;
    }
    if (stop_requested() && !told) {
      for (const auto& [id, point] : running) kill(id, SIGTERM);
      told = true;
    }
    int state = 0;
    const pid_t id = waitpid(-1, &state, WNOHANG);
    if (id <= 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      continue;
    }
    if (running.erase(id) != 0) std::fflush(stdout);
  }
  return !stop_requested();
}

int run_here(const SweepFolder& folder, bool failed) {
  install_stop_signals();
  const int64_t ranks = folder.how().at("ranks");
  const int64_t at_once = folder.how().at("at_once");
  while (true) {
    const int64_t target = folder.settle();
    const std::vector<size_t> points = folder.open_points(target, failed);
    if (points.empty()) break;
    if (!run_points(folder, points, ranks, at_once, target)) {
      fmt::print("stopped: `sweep resume {}` goes on\n", folder.path().string());
      return kExitResumable;
    }
    failed = false;
  }
  Options shown;
  shown.place = folder.path();
  status(shown);
  for (const RunStatus& point : folder.status()) {
    if (point.state == PointState::kFailed) return kExitFailure;
  }
  return kExitOk;
}

int run(const Options& options) {
  const Sweep sweep = read_sweep(options.place);
  const std::vector<Config> configs = configs_of(sweep, options.place);
  const Json how = {{"kind", "here"}, {"ranks", options.ranks}, {"at_once", options.at_once}};
  const fs::path out = fs::weakly_canonical(fs::absolute(place_named(options, sweep)));
  return run_here(SweepFolder::create(out, sweep, texts_of(configs), how), /*failed=*/false);
}

// --- by Slurm --------------------------------------------------------------------------------------------------------

Json how_of(const Options& options) {
  return {{"kind", "slurm"},
          {"site", options.site_path.empty() ? "" : fs::absolute(options.site_path).string()},
          {"site_set", options.site_overrides},
          {"nodes", options.nodes},
          {"time", options.time},
          {"most", options.most}};
}

Options options_of(const SweepFolder& folder) {
  const Json& how = folder.how();
  Options options;
  options.site_path = how.at("site");
  options.site_overrides = how.at("site_set").get<std::vector<std::string>>();
  options.nodes = how.at("nodes");
  options.time = how.at("time");
  options.most = how.at("most");
  return options;
}

Job job_of(const Options& options, const fs::path& out, const std::string& name) {
  Job job;
  job.name = "deepsearch-" + name;
  job.nodes = options.nodes;
  job.output = (out / "log" / "slurm-%A_%a.txt").string();
  job.folder = fs::current_path().string();
  job.home = job_home().string();
  job.program = own_program().string();
  job.arguments = {out.string()};
  return job;
}

// "0-3,7%4".
std::string array_of(const std::vector<size_t>& points, int64_t most) {
  std::string text;
  for (size_t i = 0; i < points.size(); ++i) {
    size_t last = i;
    while (last + 1 < points.size() && points[last + 1] == points[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", points[i]);
    if (last > i) text += fmt::format("-{}", points[last]);
    i = last;
  }
  return most > 0 ? fmt::format("{}%{}", text, most) : text;
}

void queue_points(const SweepFolder& folder, const Options& options, const std::vector<size_t>& points,
                  int64_t target) {
  const Site site = options.site();
  Job job = job_of(options, folder.path(), folder.sweep().name);
  job.array = array_of(points, options.most);
  if (target > 0) {
    job.environment.push_back(fmt::format("DEEPSEARCH_UNTIL={}", target));
    job.arguments.insert(job.arguments.end(), {"--set", fmt::format("run.stop_after={}", target)});
  }
  for (const size_t point : points) fs::remove(folder.run_of(point) / "log" / "failures");
  const fs::path script = folder.path() / "log" / "sweep.sbatch";
  write_file_atomically(script, script_of(site, job, /*checkpoint_seconds=*/0, "sweep.sbatch"));
  const std::string id = queue_job(script);
  folder.add_job(id);
  fmt::print("job array {}: {} points{}, {} nodes each\n", id, points.size(),
             target > 0 ? fmt::format(" up to step {}", target) : "", options.nodes);
  if (target > 0) {  // whoever is left then decides
    Site small = site;
    small.nodes.tasks_per_node = 1;
    small.nodes.gpus_per_node = 0;
    Job next = job_of(options, folder.path(), folder.sweep().name + "-rung");
    next.nodes = 1;
    next.output = (folder.path() / "log" / "slurm-%j.txt").string();
    next.dependency = "afterany:" + id;
    next.requeue = false;
    const fs::path file = folder.path() / "log" / "rung.sbatch";
    write_file_atomically(file, script_of(small, next, 0, "rung.sbatch"));
    fmt::print("job {} then picks the best\n", queue_job(file));
  }
}

int submit(const Options& options) {
  const Sweep sweep = read_sweep(options.place);
  const std::vector<Config> configs = configs_of(sweep, options.place);
  const Site site = options.site();
  const fs::path out = place_of(site, place_named(options, sweep));
  Job job = job_of(options, out, sweep.name);
  job.array = options.most > 0 ? fmt::format("0-{}%{}", sweep.points.size() - 1, options.most)
                               : fmt::format("0-{}", sweep.points.size() - 1);
  for (size_t i = 0; i < configs.size(); ++i) {
    try {
      check_job(site, job, configs[i], out, static_cast<int64_t>(configs.size()));
    } catch (const Error& error) {
      throw error.within(fmt::format("{}: point {}", options.place.string(), sweep.points[i].name));
    }
  }
  const std::string script = script_of(site, job, 0, "sweep.sbatch");
  if (options.dry_run) {
    fmt::print("{}\n# {} points of {} ranks each:\n", script, sweep.points.size(), job.ranks(site));
    for (const std::string& line :
         rank_map_of(site, job, configs.front().ranks.learners, configs.front().ranks.mode == "colocated")) {
      fmt::print("# {}\n", line);
    }
    return kExitOk;
  }
  if (!has_slurm()) bad_input("sbatch is not found: this is no machine of a Slurm cluster; `sweep run` runs it here");
  check_modules(site);
  const bool fresh = !fs::exists(out);
  const SweepFolder folder = SweepFolder::create(out, sweep, texts_of(configs), how_of(options));
  const fs::path trial = out / "log" / "sweep.sbatch";
  write_file_atomically(trial, script);
  try {
    test_job(trial);
  } catch (const Error&) {
    if (fresh) fs::remove_all(out);
    throw;
  }
  const int64_t target = folder.settle();
  queue_points(folder, options, folder.open_points(target, false), target);
  fmt::print("watch it:  squeue --me\n           {} sweep status {}\n", job.program, out.string());
  return kExitOk;
}

int go_on(const Options& options, bool failed) {
  const SweepFolder folder(fs::weakly_canonical(fs::absolute(options.place)));
  if (folder.how().at("kind") == "here") return run_here(folder, failed);
  const int64_t target = folder.settle();
  const std::vector<size_t> points = folder.open_points(target, failed);
  if (points.empty()) {
    fmt::print("nothing to {}: {}\n", failed ? "retry" : "resume", summary(folder.status()));
    return kExitOk;
  }
  queue_points(folder, options_of(folder), points, target);
  return kExitOk;
}

}  // namespace

void add_sweep(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("sweep", "Many runs that differ in some keys: plan, run, submit, status, resume, retry");
  command->require_subcommand(1);
  const auto add = [&](const char* name, const char* meaning, const char* what, auto act) {
    CLI::App* sub = command->add_subcommand(name, meaning);
    sub->add_option(what, options->place, std::string(what) == "file" ? "The sweep, TOML" : "The sweep's folder")
        ->required();
    sub->callback([options, act, &line] { line.chosen = [options, act] { return act(*options); }; });
    return sub;
  };
  add("plan", "Check a sweep's file and print its points", "file", plan);
  CLI::App* here = add("run", "Run all points on this machine", "file", run);
  CLI::App* queued = add("submit", "Queue all points as a Slurm job array", "file", submit);
  add("status", "Where every point stands, and why those that failed did", "folder", status);
  add("resume", "Go on with points that nobody works on; with [halving], end poor ones", "folder",
      [](const Options& o) { return go_on(o, false); });
  add("retry", "Run the points that failed once more, and no others", "folder",
      [](const Options& o) { return go_on(o, true); });
  for (CLI::App* sub : {here, queued}) {
    sub->add_option("--out", options->out, "The sweep's folder; default: runs/NAME of the file's name");
  }
  here->add_option("--ranks", options->ranks, "Ranks of each run; more than 1: by mpirun")->check(CLI::Range(1, 4096));
  here->add_option("--at-once", options->at_once, "Runs side by side")->check(CLI::Range(1, 4096));
  options->add_options(*queued);
  queued->add_option("--most", options->most, "Points that run at a time; default: as Slurm likes")
      ->check(CLI::Range(1, 1 << 20));
}

}  // namespace deepsearch
