// Slurm's commands, and the folders that jobs are started in.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace deepsearch {

bool has_slurm();  // sbatch is there

// bad_input with Slurm's own words when it would not take the job; queues nothing.
void test_job(const std::filesystem::path& script);

// Queues it; the job's id. bad_input with Slurm's own words when it is refused.
std::string queue_job(const std::filesystem::path& script);

// Job ids ("17", "17_3" and the id of each array element) → "PENDING", "RUNNING" …, of jobs that are not over.
// Empty without Slurm; failure when squeue does not answer.
std::map<std::string, std::string> live_jobs();

// Above slurm/: $DEEPSEARCH_HOME, or found from where this program lies (a build folder or an installed tree).
// bad_input when it is not found.
std::filesystem::path job_home();
std::filesystem::path own_program();

// Why a run's folder may not be there: "" or a sentence. `node_local`: folders that every node has of its own.
std::string why_node_local(const std::filesystem::path& folder, const std::vector<std::string>& node_local);

// Why these modules cannot be loaded here: "" or a sentence.
std::string why_no_modules(const std::vector<std::string>& modules);

}  // namespace deepsearch
