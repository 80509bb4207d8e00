// The rank map printed at the start of a run: who runs where, on what, bound to which CPUs, and warnings for layouts
// that work but are slow. Plain values and pure functions, but for the two that look at this machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/world.h"
#include "run/config.h"

namespace deepsearch {

struct RankFacts {
  int rank = 0;
  std::string role;  // "search", "learner", "both"
  std::string name;  // "search 3"
  std::string host;
  std::string gpu;                // the one it uses, by its bus id on the host; "": it computes on CPUs
  std::string gpu_name;           // "NVIDIA H100 80GB HBM3"
  std::vector<std::string> gpus;  // all it sees, by bus id
  int64_t threads = 1;            // that it computes with
  std::vector<int> cpus;          // it may run on (sched_getaffinity), ascending
  int64_t host_cpus = 0;          // online
  int64_t host_sockets = 1;
};

// Of this rank. `gpus` are looked at through comm/gpu.h.
RankFacts rank_facts(const World& world, const Config& config);

// Lines of a table: a head, then a line a rank; above kRankLines ranks a line for all that differ in nothing but rank,
// host, GPU number and which CPUs.
constexpr size_t kRankLines = 32;
std::vector<std::string> rank_table(const std::vector<RankFacts>& ranks);

// What would be slow, a line each: ranks that share a GPU, more threads than CPUs, several ranks unbound on a host of
// several sockets, GPUs that nobody uses.
std::vector<std::string> rank_warnings(const std::vector<RankFacts>& ranks);

// "0-3,8", from ascending numbers.
std::string ranges_text(const std::vector<int>& numbers);

std::string rank_facts_to_json(const RankFacts& facts);
RankFacts rank_facts_from_json(const std::string& text);

// Collective: the coordinator logs table and warnings.
void log_rank_map(World& world, const Config& config);

}  // namespace deepsearch
