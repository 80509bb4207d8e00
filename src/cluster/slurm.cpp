#include "cluster/slurm.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <sys/vfs.h>

#include "core/error.h"
#include "core/subprocess.h"

namespace deepsearch {

namespace {

namespace fs = std::filesystem;

// Slurm's complaint without its prefix, on one line.
std::string complaint(const std::string& output) {
  std::istringstream lines(output);
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    for (const char* prefix : {"sbatch: error: ", "allocation failure: ", "sbatch: ", "error: "}) {
      if (line.starts_with(prefix)) line = line.substr(std::string(prefix).size());
    }
    if (!line.empty()) text += (text.empty() ? "" : "; ") + line;
  }
  return text;
}

fs::path nearest_existing(fs::path path) {
  while (!path.empty() && !fs::exists(path) && path != path.parent_path()) path = path.parent_path();
  return path;
}

}  // namespace

bool has_slurm() {
  return is_program("sbatch");
}

void test_job(const fs::path& script) {
  const Finished finished = run_program({"timeout", "60", "sbatch", "--test-only", script.string()});
  if (!finished.ok()) bad_input("Slurm would not take {}: {}", script.string(), complaint(finished.output));
}

std::string queue_job(const fs::path& script) {
  const Finished finished = run_program({"timeout", "60", "sbatch", "--parsable", script.string()});
  if (!finished.ok()) bad_input("Slurm does not take {}: {}", script.string(), complaint(finished.output));
  std::string id;
  std::istringstream lines(finished.output);
  for (std::string line; std::getline(lines, line);) id = line;  // warnings come before it
  return id.substr(0, id.find_first_of(";\n"));
}

std::map<std::string, std::string> live_jobs() {
  std::map<std::string, std::string> jobs;
  if (!is_program("squeue")) return jobs;
  const Finished finished = run_program({"timeout", "60", "squeue", "--noheader", "--array", "--format=%A %i %T"});
  if (!finished.ok()) failure("squeue does not answer: {}", complaint(finished.output));
  std::istringstream lines(finished.output);
  std::string id;
  std::string name;
  std::string state;
  while (lines >> id >> name >> state) {
    jobs[name] = state;
    // %A is the element's own id once it has run, else the array's.
    if (name.find('_') == std::string::npos || !name.starts_with(id)) jobs[id] = state;
  }
  return jobs;
}

fs::path own_program() {
  std::error_code error;
  const fs::path own = fs::read_symlink("/proc/self/exe", error);
  if (error) failure("cannot tell where this program lies: {}", error.message());
  return own;
}

fs::path job_home() {
  std::vector<fs::path> places;
  if (const char* named = std::getenv("DEEPSEARCH_HOME"); named != nullptr && *named != '\0') places = {named};
  const fs::path own = own_program().parent_path();
  if (places.empty()) places = {own / ".." / "share" / "deepsearch", own / ".." / "..", own / ".."};
  for (const fs::path& place : places) {
    if (fs::exists(place / "slurm" / "attempt.sh")) return fs::weakly_canonical(place);
  }
  bad_input("slurm/attempt.sh is not found in {}: set DEEPSEARCH_HOME to the folder that holds slurm/",
            fs::weakly_canonical(places.front()).string());
}

std::string why_node_local(const fs::path& folder, const std::vector<std::string>& node_local) {
  const fs::path place = fs::weakly_canonical(fs::absolute(folder));
  for (const std::string& name : node_local) {
    const fs::path local = fs::path(name).lexically_normal();
    const auto [end, unused] = std::mismatch(local.begin(), local.end(), place.begin(), place.end());
    if (end == local.end()) return fmt::format("{} is a node's own ([site].node_local)", name);
  }
  struct statfs facts {};
  const fs::path there = nearest_existing(place);
  if (statfs(there.c_str(), &facts) != 0) return "";
  constexpr auto kTmpfs = 0x01021994;
  constexpr auto kRamfs = 0x858458f6;
  const auto type = static_cast<unsigned long>(facts.f_type) & 0xffffffffUL;
  if (type == kTmpfs || type == kRamfs) return fmt::format("{} is in this machine's memory", there.string());
  return "";
}

std::string why_no_modules(const std::vector<std::string>& modules) {
  if (modules.empty()) return "";
  const std::string load =
      "type module >/dev/null 2>&1 || { echo 'there is no command module here'; exit 9; }; "
      "module load " +
      shell_words(modules);
  const Finished finished = run_program({"timeout", "60", "bash", "-lc", load});
  // Older versions of the command complain and return 0.
  const bool complained = finished.output.find("ERROR") != std::string::npos;
  if (finished.ok() && !complained) return "";
  const std::string words = complaint(finished.output);
  return words.empty() ? "exit code " + std::to_string(finished.code) : words;
}

}  // namespace deepsearch
