#include "cluster/job.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/subprocess.h"

namespace deepsearch {

namespace {

std::string line(const std::string& option) {
  return "#SBATCH " + option + "\n";
}

std::string resources(const NodeKind& kind, int64_t nodes) {
  std::string text;
  text += line(fmt::format("--nodes={}", nodes));
  text += line(fmt::format("--ntasks-per-node={}", kind.tasks_per_node));
  text += line(fmt::format("--cpus-per-task={}", kind.cpus_per_task));
  if (kind.gpus_per_node > 0) text += line(fmt::format("--gpus-per-node={}", kind.gpus_per_node));
  if (!kind.partition.empty()) text += line("--partition=" + kind.partition);
  if (!kind.constraint.empty()) text += line("--constraint=" + shell_quoted(kind.constraint));
  return text;
}

// What both groups of a heterogeneous job must say.
std::string common(const Site& site) {
  std::string text;
  if (!site.account.empty()) text += line("--account=" + site.account);
  if (!site.qos.empty()) text += line("--qos=" + site.qos);
  text += line("--time=" + site.time);
  for (const std::string& option : site.sbatch) text += line(option);
  return text;
}

std::string export_line(const std::string& name, const std::string& value) {
  return fmt::format("export {}={}\n", name, shell_quoted(value));
}

std::string exports(const Site& site, const Job& job) {
  std::string text = export_line("DEEPSEARCH_HOME", job.home) + export_line("DEEPSEARCH", job.program) +
                     export_line("DEEPSEARCH_LAUNCHER", site.launcher) + export_line("DEEPSEARCH_SRUN_MPI", site.mpi) +
                     export_line("DEEPSEARCH_LAUNCH_OPTIONS", site.launcher_options) +
                     export_line("DEEPSEARCH_NETWORK", site.network) +
                     export_line("DEEPSEARCH_REQUEUE", job.requeue ? "1" : "0");
  for (const std::vector<std::string>& list : {site.environment, job.environment}) {
    for (const std::string& entry : list) {
      const size_t equals = entry.find('=');
      text += export_line(entry.substr(0, equals), entry.substr(equals + 1));
    }
  }
  return text;
}

std::string range(const std::string& what, int64_t first, int64_t last) {
  return first == last ? fmt::format("{} {}", what, first) : fmt::format("{}s {}-{}", what, first, last);
}

// "search 0-3, learner 0" of the ranks first … last.
std::string roles(int64_t first, int64_t last, int64_t ranks, int64_t learners, bool colocated) {
  if (colocated || ranks == 1) return "search and learn";
  const int64_t searchers = ranks - learners;
  std::string text;
  if (first < searchers) text += range("search rank", first, std::min(last, searchers - 1));
  if (last >= searchers) {
    const int64_t from = std::max(first, searchers) - searchers;
    text += (text.empty() ? "" : ", ") + range("learner", from, last - searchers);
    if (from == 0) text += " (0 coordinates)";
  }
  return text;
}

}  // namespace

std::string job_header(const Site& site, const Job& job, int64_t grace) {
  std::string text = "#!/usr/bin/env bash\n";
  text += line("--job-name=" + job.name);
  text += resources(site.nodes, job.nodes) + common(site);
  text += line("--output=" + job.output);
  text += line("--open-mode=append");
  text += line(fmt::format("--signal=B:{}@{}", site.signal, grace));
  text += line(job.requeue ? "--requeue" : "--no-requeue");
  if (!job.array.empty()) text += line("--array=" + job.array);
  if (!job.dependency.empty()) text += line("--dependency=" + job.dependency);
  // Else a job whose forerunner failed would wait for ever.
  if (job.dependency.starts_with("afterok:")) text += line("--kill-on-invalid-dep=yes");
  if (!job.folder.empty()) text += line("--chdir=" + job.folder);
  if (job.learner_nodes > 0) {
    text += line("hetjob");
    text += resources(site.learners, job.learner_nodes) + common(site);
  }
  return text;
}

std::string job_script(const Site& site, const Job& job, int64_t grace, const std::string& body) {
  constexpr const char* kMark = "# --- what follows";
  const size_t mark = body.find(kMark);
  const size_t begin = mark == std::string::npos ? mark : body.find('\n', mark);
  if (begin == std::string::npos) bad_input("the job's template has no line \"{}\"", kMark);
  std::string text = job_header(site, job, grace) + "\n" + exports(site, job);
  if (!site.modules.empty()) text += "module load " + shell_words(site.modules) + " || exit 2\n";
  text += "set -- " + shell_words(job.arguments) + "\n";
  return text + body.substr(begin + 1);
}

std::vector<std::string> rank_map_of(const Site& site, const Job& job, int64_t learners, bool colocated) {
  const int64_t ranks = job.ranks(site);
  const int64_t nodes = job.nodes + job.learner_nodes;
  constexpr int64_t kMostLines = 16;
  struct Entry {
    int64_t first_node, last_node, first, last;
    std::string what;
  };
  std::vector<Entry> entries;
  for (int64_t node = 0, rank = 0; node < nodes; ++node) {
    const int64_t here = node < job.nodes ? site.nodes.tasks_per_node : site.learners.tasks_per_node;
    Entry entry{node, node, rank, rank + here - 1, roles(rank, rank + here - 1, ranks, learners, colocated)};
    rank += here;
    const int64_t searchers = ranks - learners;
    const auto only_search = [&](const Entry& e) { return !colocated && e.last < searchers; };
    if (nodes > kMostLines && !entries.empty() && only_search(entries.back()) && only_search(entry)) {
      entries.back().last_node = node;
      entries.back().last = entry.last;
      entries.back().what = roles(entries.back().first, entry.last, ranks, learners, colocated);
    } else {
      entries.push_back(entry);
    }
  }
  std::vector<std::string> lines;
  for (const Entry& entry : entries) {
    lines.push_back(fmt::format("{:<14} {:<16} {}", range("node", entry.first_node + 1, entry.last_node + 1),
                                range("rank", entry.first, entry.last), entry.what));
  }
  return lines;
}

int64_t grace_of(const Site& site, double limit_seconds, double checkpoint_seconds) {
  int64_t grace = site.grace_seconds;
  if (checkpoint_seconds > 0) grace = std::max(grace, static_cast<int64_t>(std::ceil(2 * checkpoint_seconds)) + 30);
  if (static_cast<double>(grace) > limit_seconds / 2) {
    bad_input(
        "the time limit of {:.0f} s leaves less than half for work: the job is told {} s before its end "
        "([site].grace_seconds, or twice the last checkpoint's time); ask for more time",
        limit_seconds, grace);
  }
  return grace;
}

}  // namespace deepsearch
