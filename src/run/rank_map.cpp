#include "run/rank_map.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sched.h>
#include <set>
#include <tuple>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "comm/gpu.h"
#include "core/log.h"
#include "run/setup.h"

namespace deepsearch {

namespace {

// The CPUs this process may run on, whatever their number.
std::vector<int> allowed_cpus() {
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t* mask = CPU_ALLOC(cpus);
    if (mask == nullptr) return {};
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    std::vector<int> allowed;
    const bool known = sched_getaffinity(0, bytes, mask) == 0;
    for (int cpu = 0; known && cpu < cpus; ++cpu) {
      if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, mask)) allowed.push_back(cpu);
    }
    CPU_FREE(mask);
    if (known) return allowed;
  }
  return {};
}

// Counted over /sys; 1 where that says nothing.
int64_t sockets() {
  namespace fs = std::filesystem;
  std::set<int> packages;
  std::error_code error;
  for (fs::directory_iterator at("/sys/devices/system/cpu", error), end; !error && at != end; at.increment(error)) {
    std::ifstream file(at->path() / "topology/physical_package_id");
    int package = 0;
    if (file >> package) packages.insert(package);
  }
  return std::max<int64_t>(1, static_cast<int64_t>(packages.size()));
}

bool bound(const RankFacts& rank) {
  return !rank.cpus.empty() && static_cast<int64_t>(rank.cpus.size()) < rank.host_cpus;
}

std::string binding_text(const RankFacts& rank) {
  if (rank.cpus.empty()) return "unknown";
  return bound(rank) ? "CPUs " + ranges_text(rank.cpus) : fmt::format("unbound ({} CPUs)", rank.host_cpus);
}

std::string device_text(const RankFacts& rank) {
  return rank.gpu.empty() ? "CPU" : fmt::format("{} {}", rank.gpu_name, rank.gpu);
}

std::string line(const std::string& ranks, const std::string& role, const std::string& host, const std::string& device,
                 const std::string& threads, const std::string& binding) {
  return fmt::format("{:<12} {:<16} {:<16} {:<32} {:>7}  {}", ranks, role, host, device, threads, binding);
}

// Of ranks that are alike.
std::string group_line(const std::vector<const RankFacts*>& group) {
  const RankFacts& first = *group.front();
  std::vector<int> ranks;
  std::set<std::string> hosts;
  for (const RankFacts* rank : group) {
    ranks.push_back(rank->rank);
    hosts.insert(rank->host);
  }
  return line(ranges_text(ranks), fmt::format("{} {}", group.size(), first.role),
              hosts.size() == 1 ? first.host : fmt::format("{} hosts", hosts.size()),
              first.gpu.empty() ? "CPU" : first.gpu_name, std::to_string(first.threads),
              bound(first) ? fmt::format("{} CPUs each", first.cpus.size()) : binding_text(first));
}

using ByHost = std::map<std::string, std::vector<const RankFacts*>>;

ByHost by_host(const std::vector<RankFacts>& ranks) {
  ByHost hosts;
  for (const RankFacts& rank : ranks) hosts[rank.host].push_back(&rank);
  return hosts;
}

std::string names_of(const std::vector<const RankFacts*>& ranks) {
  std::string names;
  constexpr size_t kMost = 4;
  for (size_t i = 0; i < std::min(ranks.size(), kMost); ++i) names += (i == 0 ? "" : ", ") + ranks[i]->name;
  return ranks.size() > kMost ? fmt::format("{} and {} more", names, ranks.size() - kMost) : names;
}

void warn_of_gpus(const std::string& host, const std::vector<const RankFacts*>& here,
                  std::vector<std::string>& warnings) {
  std::map<std::string, std::vector<const RankFacts*>> users;
  std::set<std::string> unused;
  for (const RankFacts* rank : here) {
    if (!rank->gpu.empty()) users[rank->gpu].push_back(rank);
    unused.insert(rank->gpus.begin(), rank->gpus.end());
  }
  for (const auto& [gpu, ranks] : users) {
    unused.erase(gpu);
    if (ranks.size() < 2) continue;
    warnings.push_back(fmt::format(
        "host {}: GPU {} is shared by {} ranks ({}): they take turns; start one rank a GPU, or show each its own", host,
        gpu, ranks.size(), names_of(ranks)));
  }
  if (unused.empty()) return;
  std::string list;
  for (const std::string& gpu : unused) list += (list.empty() ? "" : ", ") + gpu;
  warnings.push_back(
      fmt::format("host {}: {} GPU{} that no rank uses ({}): start more ranks there, or see "
                  "[engine].device and [ranks].transport",
                  host, unused.size(), unused.size() == 1 ? "" : "s", list));
}

void warn_of_threads(const std::string& host, const std::vector<const RankFacts*>& here,
                     std::vector<std::string>& warnings) {
  std::set<int> cpus;
  std::map<std::string, int64_t> threads;  // by role: search ranks and learners compute in turns
  for (const RankFacts* rank : here) {
    cpus.insert(rank->cpus.begin(), rank->cpus.end());
    threads[rank->role] += rank->threads;
  }
  if (cpus.empty()) return;
  for (const auto& [role, count] : threads) {
    if (count <= static_cast<int64_t>(cpus.size())) continue;
    const std::string key = role == "learner" ? "[learn].threads" : "[engine].threads";
    warnings.push_back(fmt::format("host {}: {} threads of {} ranks on {} CPUs: fewer ranks there, or fewer {}", host,
                                   count, role == "both" ? "all" : role, cpus.size(), key));
  }
  std::vector<const RankFacts*> cramped;
  for (const RankFacts* rank : here) {
    if (bound(*rank) && rank->threads > static_cast<int64_t>(rank->cpus.size())) cramped.push_back(rank);
  }
  if (!cramped.empty()) {
    const RankFacts& first = *cramped.front();
    warnings.push_back(
        fmt::format("host {}: {} bound to fewer CPUs than threads ({} has {} threads on CPUs {}): bind "
                    "wider (mpirun --map-by slot:PE=N, srun --cpus-per-task=N)",
                    host, cramped.size() == 1 ? "1 rank is" : fmt::format("{} ranks are", cramped.size()), first.name,
                    first.threads, ranges_text(first.cpus)));
  }
}

}  // namespace

std::string ranges_text(const std::vector<int>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", numbers[i]);
    if (last > i) text += fmt::format("-{}", numbers[last]);
    i = last + 1;
  }
  return text;
}

std::vector<std::string> rank_table(const std::vector<RankFacts>& ranks) {
  std::vector<std::string> lines{line("rank", "role", "host", "device", "threads", "binding")};
  if (ranks.size() <= kRankLines) {
    for (const RankFacts& rank : ranks) {
      lines.push_back(line(std::to_string(rank.rank), rank.name, rank.host, device_text(rank),
                           std::to_string(rank.threads), binding_text(rank)));
    }
    return lines;
  }
  std::map<std::tuple<std::string, std::string, int64_t, size_t, int64_t>, std::vector<const RankFacts*>> groups;
  for (const RankFacts& rank : ranks) {
    groups[{rank.role, rank.gpu.empty() ? "" : rank.gpu_name, rank.threads, rank.cpus.size(), rank.host_cpus}]
        .push_back(&rank);
  }
  for (const auto& [alike, group] : groups) lines.push_back(group_line(group));
  return lines;
}

std::vector<std::string> rank_warnings(const std::vector<RankFacts>& ranks) {
  std::vector<std::string> warnings;
  for (const auto& [host, here] : by_host(ranks)) {
    warn_of_gpus(host, here, warnings);
    warn_of_threads(host, here, warnings);
    const auto unbound = std::count_if(here.begin(), here.end(), [](const RankFacts* rank) { return !bound(*rank); });
    if (unbound > 1 && here.front()->host_sockets > 1) {
      warnings.push_back(
          fmt::format("host {}: {} ranks are not bound to CPUs on a host of {} sockets, and wander between them: "
                      "mpirun --bind-to core --map-by slot:PE=N, or srun --cpu-bind=cores",
                      host, unbound, here.front()->host_sockets));
    }
  }
  return warnings;
}

std::string rank_facts_to_json(const RankFacts& facts) {
  return nlohmann::json{
      {"rank", facts.rank}, {"role", facts.role},           {"name", facts.name},           {"host", facts.host},
      {"gpu", facts.gpu},   {"gpu_name", facts.gpu_name},   {"gpus", facts.gpus},           {"threads", facts.threads},
      {"cpus", facts.cpus}, {"host_cpus", facts.host_cpus}, {"sockets", facts.host_sockets}}
      .dump();
}

RankFacts rank_facts_from_json(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text);
  RankFacts facts;
  json.at("rank").get_to(facts.rank);
  json.at("role").get_to(facts.role);
  json.at("name").get_to(facts.name);
  json.at("host").get_to(facts.host);
  json.at("gpu").get_to(facts.gpu);
  json.at("gpu_name").get_to(facts.gpu_name);
  json.at("gpus").get_to(facts.gpus);
  json.at("threads").get_to(facts.threads);
  json.at("cpus").get_to(facts.cpus);
  json.at("host_cpus").get_to(facts.host_cpus);
  json.at("sockets").get_to(facts.host_sockets);
  return facts;
}

RankFacts rank_facts(const World& world, const Config& config) {
  RankFacts facts;
  facts.rank = world.rank();
  facts.role = !world.learns() ? "search" : world.searches() ? "both" : "learner";
  facts.name = world.who();
  facts.host = world.host();
  const bool engine_on_gpu = world.searches() && config.engine.device != "cpu";
  const bool learner_on_gpu = world.learns() && transport_of(config.ranks) != Transport::kMpi;
  const int gpu = gpu_of(world);
  if (gpu >= 0 && (engine_on_gpu || learner_on_gpu)) {
    facts.gpu = gpu_bus_id(gpu);
    facts.gpu_name = gpu_name();
  }
  for (int other = 0; other < n_gpus(); ++other) facts.gpus.push_back(gpu_bus_id(other));
  if (world.searches()) facts.threads = config.engine.threads;
  if (world.learns()) facts.threads = learner_threads(config.learn, world);
  facts.cpus = allowed_cpus();
  facts.host_cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  facts.host_sockets = sockets();
  return facts;
}

void log_rank_map(World& world, const Config& config) {
  std::vector<RankFacts> ranks;
  for (const std::string& text :
       world.gather_text(rank_facts_to_json(rank_facts(world, config)), world.coordinator_rank())) {
    ranks.push_back(rank_facts_from_json(text));
  }
  for (const std::string& text : rank_table(ranks)) {
    if (world.is_coordinator()) log_info("{}", text);
  }
  for (const std::string& text : rank_warnings(ranks)) log_warning("{}", text);
}

}  // namespace deepsearch
