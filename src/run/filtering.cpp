#include "run/filtering.h"

#include <map>
#include <memory>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "comm/gpu.h"
#include "comm/mailbox.h"
#include "comm/stuck_watch.h"
#include "core/activity.h"
#include "core/bytes.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/signals.h"
#include "core/timer.h"
#include "core/version.h"
#include "data/problem_file.h"
#include "run/coordinator.h"
#include "run/domain.h"
#include "run/flat_weights.h"
#include "run/rank_map.h"
#include "run/ranks.h"
#include "run/resume.h"
#include "run/resume_config.h"
#include "run/rounds_driver.h"
#include "run/setup.h"
#include "run/stopping.h"
#include "run/time_budget.h"
#include "run/verification.h"

namespace deepsearch {

namespace {

constexpr std::string_view kMagic = "deepsearch filter 1\n";
constexpr uint64_t kStateBytes = uint64_t{1} << 34;

struct FilterRank {
  World& world;
  std::filesystem::path folder;
  Config config = {};
  Domain domain = {};
  std::unique_ptr<const ProblemSource> problems = nullptr;
  ModelWeights policy = {};
  // The coordinator's.
  std::optional<RoundsDriver> driver = {};
  RunState identity = {};  // first_state: what the filter must not change in
  int64_t tokens = 0;      // generated, by all attempts
};

std::filesystem::path state_path(const FilterRank& rank) {
  return rank.folder / "filter.bin";
}

void save_state(const FilterRank& rank) {
  ByteWriter out(kMagic);
  out.text(rank.identity.config_text);
  out.value(rank.identity.start_digest);
  out.value(rank.identity.problems_digest);
  out.value(rank.tokens);
  out.text(rank.driver->bytes());
  write_file_atomically(state_path(rank), std::move(out).finish());
}

void restore_state(FilterRank& rank) {
  const std::string where = state_path(rank).string();
  const std::string bytes = read_file(where, kStateBytes);
  ByteReader in(bytes, kMagic, where);
  const Config before = read_config_text(in.text(), where + ": its configuration", {}, ReadFor::kSampling);
  for (const ChangedKey& change : changed_keys(before, rank.config)) {
    if (!change.decides_any(kFilterResult)) continue;
    bad_input("{}: the filter in this folder was begun with {} = {}, now {}: set it back, or use another folder",
              rank.folder.string(), change.key, change.before, change.after);
  }
  if (in.value<uint64_t>() != rank.identity.start_digest) {
    bad_input("{}: the filter in this folder was begun with another policy", rank.folder.string());
  }
  if (in.value<uint64_t>() != rank.identity.problems_digest) {
    bad_input("{}: the filter in this folder was begun with other problem files", rank.folder.string());
  }
  rank.tokens = in.count();
  rank.driver->restore(in.text(), rank.driver->cache_bytes(), where, where + " (cache)");
  in.end();
}

// The rows of the hard problems: a file's own where there is one, so that what it says beside the problem stays.
std::vector<ProblemRow> hard_rows(const FilterRank& rank) {
  const FilterPass& pass = rank.driver->filter();
  const auto samples = static_cast<double>(rank.config.rounds.filter_samples);
  std::map<uint64_t, double> rates;
  for (size_t i = 0; i < pass.candidates.size(); ++i) {
    rates[rank.driver->problem(pass.candidates[i]).key] = static_cast<double>(pass.correct[i]) / samples;
  }
  std::map<uint64_t, ProblemRow> in_file;
  const std::string& file = rank.config.problems.train_file;
  if (!file.empty()) {
    for (ProblemRow& row : read_problem_file(file)) in_file.try_emplace(row.problem.key, std::move(row));
  }
  std::vector<ProblemRow> rows;
  for (const int64_t number : rank.driver->hard()) {
    const Problem& problem = rank.driver->problem(number);
    const auto found = in_file.find(problem.key);
    ProblemRow row;
    if (found == in_file.end()) {
      row.problem = problem;
    } else {
      row = found->second;
    }
    row.pass_rate = rates.at(problem.key);
    row.round = row.round ? *row.round + 1 : 0;
    rows.push_back(std::move(row));
  }
  return rows;
}

void write_results(const FilterRank& rank) {
  const FilterPass& pass = rank.driver->filter();
  const int64_t samples = rank.config.rounds.filter_samples;
  write_problem_file(rank.folder / "problems.jsonl", hard_rows(rank));
  const nlohmann::ordered_json summary = {{"format", "deepsearch filter"},
                                          {"version", 1},
                                          {"program", program()},
                                          {"problems", pass.candidates.size()},
                                          {"hard", rank.driver->hard().size()},
                                          {"samples", samples},
                                          {"max_pass_rate", rank.config.rounds.max_pass_rate},
                                          {"problems_by_correct_responses", pass.histogram(samples)},
                                          {"pass_rate_mean", pass.mean_pass_rate(samples)},
                                          {"tokens_generated", rank.tokens},
                                          {"model", rank.config.model.path},
                                          {"train_file", rank.config.problems.train_file}};
  write_file_atomically(rank.folder / "summary.json", summary.dump(1) + "\n");
}

// False: stopped.
bool filter_all(FilterRank& rank, Coordinator& coordinator) {
  const FilterPass& pass = rank.driver->filter();
  const TimeBudget budget = TimeBudget::of_run(rank.config.run.time_limit, 0);
  Progress progress("filtering", static_cast<int64_t>(pass.candidates.size()), /*enabled=*/true);
  while (rank.driver->filtering()) {
    const auto done = static_cast<int64_t>(pass.correct.size());
    Harvest harvest = coordinator.grow(rank.driver->wave(), [&](int64_t items) {
      progress.update(done + items);
      budget.stopping();
    });
    std::vector<TreeRecord> groups;
    for (TreeMessage& message : harvest.records) groups.push_back(std::move(message.tree));
    if (harvest.interrupted) {
      groups.resize(static_cast<size_t>(rank.driver->take_part_of_wave(groups)));
    } else {
      rank.driver->take_wave(groups, /*next_problem=*/0);
    }
    for (const TreeRecord& group : groups) rank.tokens += group.tokens_generated;
    save_state(rank);
    if (harvest.interrupted) return false;
  }
  progress.finish();
  return true;
}

int coordinate(FilterRank& rank, Mailbox& mailbox, SearchWorker& worker) {
  Coordinator coordinator(rank.world, mailbox, rank.config.ranks, &worker, type_sent(rank.config.engine));
  coordinator.publish(std::make_shared<const ModelWeights>(std::move(rank.policy)), /*policy_version=*/0);
  const Stopwatch watch;
  const bool finished = filter_all(rank, coordinator);
  if (!finished) coordinator.halt();
  coordinator.stop_all(finished ? "finished" : "stopped");
  if (!finished) {
    log_warning("stopped after {} of {} problems: --resume goes on", rank.driver->filter().correct.size(),
                rank.driver->filter().candidates.size());
    return stop_code();
  }
  write_results(rank);
  log_info("{}", rank.driver->filter_text());
  coordinator.log_throughput(watch.seconds());
  fmt::print("{} of {} problems are hard: {}\n", rank.driver->hard().size(), rank.driver->pool(),
             (rank.folder / "problems.jsonl").string());
  return kExitOk;
}

void set_up(FilterRank& rank, const FilterRequest& request) {
  World& world = rank.world;
  agree(world, [&] {
    std::vector<std::string> overrides = request.overrides;
    if (!request.model.empty()) overrides.push_back("model.path=\"" + request.model + '"');
    rank.config = read_config(request.config_path, overrides, ReadFor::kSampling);
    rank.config.ranks.mode = "colocated";  // nobody learns
  });
  agree(world, [&] { world.assign_roles(rank.config.ranks); });
  agree(world, [&] {
    rank.domain = make_domain(rank.config);
    rank.problems =
        std::make_unique<ProblemSource>(rank.domain, rank.config.problems, static_cast<uint64_t>(rank.config.run.seed));
    rank.policy = start_weights(rank.config, *rank.domain.language);
  });
  agree(world, [&] {
    if (!world.is_coordinator()) return;
    if (std::filesystem::exists(rank.folder / "run.h5")) {
      bad_input("{}: a run is there; a filter wants a folder of its own", rank.folder.string());
    }
    create_folders(rank.folder);
    rank.identity = first_state(rank.config, rank.policy, world.n_learners());
    rank.driver.emplace(rank.config, *rank.problems, cache_identity(*rank.domain.language, rank.policy.config));
    if (!std::filesystem::exists(state_path(rank))) return;
    if (!request.resume) {
      bad_input("{}: a filter is there already; --resume goes on with it", rank.folder.string());
    }
    restore_state(rank);
  });
}

}  // namespace

int run_filter(World& world, FilterRequest& request) {
  install_stop_signals();
  FilterRank rank{.world = world, .folder = request.folder};
  set_up(rank, request);
  start_log(world.who(), log_level_of(rank.config.run), /*to_terminal=*/world.is_coordinator());
  const std::filesystem::path log_file = (request.log_folder.empty() ? rank.folder / "log" : request.log_folder) /
                                         fmt::format("rank-{:04}.log", world.rank());
  log_to_file(log_file);
  StuckWatch stuck_watch(world);
  stuck_watch.log_to(log_file);
  enter_phase(request.phase = "filtering");
  use_gpu(gpu_of(world));
  log_rank_map(world, rank.config);
  Mailbox mailbox(world);
  const std::unique_ptr<Verifier> verifier = make_verifier(rank.config.verify, rank.domain);
  SearchWorker worker(world, mailbox, rank.config, *verifier, rank.policy.config, /*part=*/nullptr);
  if (!rank.config.engine.stop.empty()) worker.set_token_bytes(rank.domain.language->token_bytes());
  std::string code;
  if (world.is_coordinator()) {
    log_info("{}; engine: {}", describe_model(rank.policy), worker.engine().description());
    if (!rank.driver->filter().correct.empty()) {
      log_info("goes on after {} of {} problems", rank.driver->filter().correct.size(), rank.driver->pool());
    }
    code = std::to_string(coordinate(rank, mailbox, worker));
  } else {
    worker.set_weights(rank.policy, /*policy_version=*/0);
    rank.policy = {};  // the engine has a copy
    search_rank_loop(world, mailbox, worker);
  }
  enter_phase(request.phase = "ending");
  world.broadcast_text(code, world.coordinator_rank());
  return std::stoi(code);
}

}  // namespace deepsearch
