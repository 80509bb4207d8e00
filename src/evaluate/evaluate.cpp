#include "evaluate/evaluate.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <sstream>
#include <utility>

#include "comm/gpu.h"
#include "comm/mailbox.h"
#include "comm/stuck_watch.h"
#include "core/activity.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/signals.h"
#include "core/timer.h"
#include "core/words.h"
#include "evaluate/benchmark_run.h"
#include "evaluate/benchmark_scores.h"
#include "evaluate/benchmarks.h"
#include "evaluate/evaluation_report.h"
#include "evaluate/evaluation_state.h"
#include "run/checkpoint_folder.h"
#include "run/coordinator.h"
#include "run/domain.h"
#include "run/flat_weights.h"
#include "run/metric_rows.h"
#include "run/rank_map.h"
#include "run/ranks.h"
#include "run/search_worker.h"
#include "run/setup.h"
#include "run/stopping.h"
#include "run/time_budget.h"
#include "store/check.h"
#include "store/part_writer.h"
#include "store/readers.h"
#include "store/run_folder.h"
#include "store/run_writer.h"

namespace deepsearch {

namespace fs = std::filesystem;

namespace {

// What every rank has once set-up is through.
struct Rank {
  World& world;
  Config config = {};
  Domain domain = {};
  std::unique_ptr<const WeightSource> weights = nullptr;
  std::vector<Benchmark> benchmarks = {};
  RunInfo info = {};
  fs::path folder;
  FolderState folder_state = FolderState::kFresh;
  int attempt = 1;
};

// The newest checkpoint of a run, or the one that the path is of.
fs::path checkpoint_folder(const fs::path& given) {
  if (fs::exists(given / "config.json")) return given;
  if (!fs::is_directory(given)) bad_input("--checkpoint {}: no such folder", given.string());
  const std::optional<int64_t> step = newest_checkpoint(given, [](const std::string&) {});
  if (!step) bad_input("--checkpoint {}: no model, and no run with a whole checkpoint", given.string());
  return checkpoint_path(given, *step);
}

// config.toml of the run that the path is, or that the checkpoint is of; "" where there is none.
std::string config_of_run(const fs::path& given) {
  for (const fs::path& folder : {given, given / ".." / ".."}) {
    if (fs::exists(folder / "config.toml")) return (folder / "config.toml").lexically_normal().string();
  }
  return "";
}

// Steps of equal length, at most as long as [search]'s, that together are exactly `tokens`.
void set_response_length(Config& config, int64_t tokens) {
  if (tokens == 0) return;
  const int64_t longest = config.search.step_tokens;
  for (int64_t depth = (tokens + longest - 1) / longest; depth <= tokens; ++depth) {
    if (tokens % depth != 0) continue;
    config.search.max_depth = depth;
    config.search.step_tokens = tokens / depth;
    break;
  }
  if (4 * config.search.step_tokens < std::min(longest, tokens)) {
    bad_input("[evaluate].max_tokens = {} has no divisor between {} and {} to make steps of; {} has", tokens,
              (longest + 3) / 4, longest, (tokens + longest - 1) / longest * longest);
  }
}

std::vector<int64_t> checked_ks(const EvaluateParams& params) {
  std::vector<int64_t> ks = params.ks.empty() ? default_ks(params.samples) : params.ks;
  ks.push_back(1);
  std::sort(ks.begin(), ks.end());
  ks.erase(std::unique(ks.begin(), ks.end()), ks.end());
  if (ks.back() > params.samples) {
    bad_input("[evaluate].ks: k = {}, and [evaluate].samples = {}: k is at most the number of samples", ks.back(),
              params.samples);
  }
  return ks;
}

// As many problems at a time as keep twice the batch and the last responses of one supplied, but no more than whose KV
// has room when responses are half as long as they may be: what is evicted must be computed again.
int64_t problems_in_flight(const Rank& rank, const Engine& engine) {
  if (rank.config.evaluate.in_flight > 0) return rank.config.evaluate.in_flight;
  const SearchParams& search = rank.config.search;
  const double response = static_cast<double>(search.max_depth * search.step_tokens) / 2;
  const double room = static_cast<double>(engine.counters().kv_tokens_limit) / response;
  const auto samples = static_cast<double>(rank.config.evaluate.samples);
  const double sequences = std::min(2.0 * static_cast<double>(engine.max_batch()) + samples, room);
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(sequences / samples)));
}

// Takes the records of earlier attempts.
void read_back(const Rank& rank, BenchmarkRun& work) {
  if (rank.folder_state == FolderState::kFresh) return;
  for (const fs::path& path : list_parts(rank.folder)) {
    report_progress();
    try {
      require_readable(path);
      const PartReader part(path);
      for (int64_t row = 0; row < part.n_trees(); ++row) work.take(part.tree(row));
    } catch (const Error& error) {
      log_warning("{}; its problems are answered again", error.what());
    }
  }
  log_info("resumed: {} of {} problems need not be answered again", work.done(), work.problems());
}

void write_results(const Rank& rank, const BenchmarkRun& work, RunWriter& store, double seconds,
                   const std::vector<std::string>& parts) {
  const EvaluateParams& params = rank.config.evaluate;
  const std::vector<BenchmarkScores> scores = score_benchmarks(
      work.results(), {.ks = checked_ks(params), .confidence = params.confidence, .resamples = params.resamples});
  const fs::path model = fs::path(rank.config.model.path).filename();
  const std::string text = evaluation_markdown(scores, model.string(), params.confidence);
  write_file_atomically(rank.folder / "table.md", text);
  store.append("eval", eval_row(0, evaluation_of(scores.back()), params.temperature,
                                {.elapsed = seconds, .tokens_generated = work.tokens(), .tokens_trained = 0}));
  const EvaluationTables tables = evaluation_tables_of(rank.benchmarks, work.results(), scores);
  store.finish("finished", seconds, parts, &tables);
  fmt::print("{}", text);
  std::fflush(stdout);
}

// The coordinator's part: hands problems out, samples too, and takes what comes. False: stopped before the end.
class Evaluator {
 public:
  Evaluator(Rank& rank, Mailbox& mailbox, SearchWorker& worker, BenchmarkRun& work)
      : work_(work),
        coordinator_(rank.world, mailbox, ranks_params(rank, worker), &worker, type_sent(rank.config.engine)),
        progress_("evaluating", work.problems(), /*enabled=*/true, rank.config.evaluate.progress_seconds),
        budget_(TimeBudget::of_run(rank.config.run.time_limit, 0)) {}

  bool run() {
    enter_phase("sampling");
    coordinator_.add(work_.items());
    while (work_.done() < work_.problems() && !budget_.stopping()) {
      coordinator_.serve();
      for (const TreeMessage& message : coordinator_.take_records()) work_.take(message.tree);
      progress_.update(work_.done(), fmt::format("Pass@1 {:.3f}, {:.0f} tokens/s", work_.pass_at_1(), rate()));
    }
    progress_.finish();
    const bool finished = work_.done() == work_.problems();
    if (!finished) coordinator_.halt();
    coordinator_.stop_all(finished ? "finished" : "stopped");
    coordinator_.log_throughput(watch_.seconds());
    return finished;
  }

 private:
  static RanksParams ranks_params(const Rank& rank, const SearchWorker& worker) {
    RanksParams params = rank.config.ranks;
    params.problems_in_flight = problems_in_flight(rank, worker.engine());
    log_info("{} of {} at a time on a rank", counted(params.problems_in_flight, "problem"),
             counted(rank.config.evaluate.samples, "sample"));
    return params;
  }
  double rate() const {
    return static_cast<double>(coordinator_.tokens_generated()) / std::max(watch_.seconds(), 1e-9);
  }

  BenchmarkRun& work_;
  Coordinator coordinator_;
  Progress progress_;
  TimeBudget budget_;
  Stopwatch watch_;
};

// Makes or takes over the folder; every rank then knows the attempt.
void prepare_folder(Rank& rank, const EvaluateRequest& request) {
  World& world = rank.world;
  agree(world, [&] {
    if (!world.is_coordinator()) return;
    rank.folder_state = prepare_run_folder(rank.folder, request.force, request.resume, rank.config.model.path);
    const std::string state = evaluation_state(rank.config, rank.benchmarks);  // reads all weights: minutes, if many
    // Without a configuration nothing has begun: there may be logs of the script that starts it.
    if (!fs::exists(rank.folder / "config.toml")) rank.folder_state = FolderState::kFresh;
    if (rank.folder_state == FolderState::kResumed) {
      check_same_evaluation(rank.folder, rank.config, state);
      rank.attempt = next_attempt(rank.folder);
      if (fs::exists(rank.folder / "run.h5")) require_readable(rank.folder / "run.h5");
    }
    fs::remove(rank.folder / "table.md");  // of an earlier evaluation
    write_file_atomically(rank.folder / "evaluation.json", state);
    write_file_atomically(rank.folder / "config.toml", config_text(rank.config));
  });
  std::string known = std::to_string(rank.attempt);
  world.broadcast_text(known, world.coordinator_rank());
  rank.attempt = std::stoi(known);
}

void set_up(Rank& rank) {
  rank.domain = make_domain(rank.config);
  rank.benchmarks = read_benchmarks(rank.config, rank.domain);
  rank.weights = open_model(rank.config.model.path);
  check_model(rank.config, rank.weights->model_config(), *rank.domain.language);
}

void log_start(const Rank& rank) {
  log_info("{}, {}; {}", rank.info.rank_layout, rank.folder.string(), rank.config.model.path);
  for (const Benchmark& benchmark : rank.benchmarks) {
    const std::string left =
        benchmark.too_long > 0 ? fmt::format("; {} left out, their prompts are too long", benchmark.too_long) : "";
    log_info("{}: {}{}", benchmark.name, counted(benchmark.problems.size(), "problem"), left);
  }
}

// True: all problems are answered.
bool sample(Rank& rank, std::optional<PartWriter>& part, std::optional<BenchmarkRun>& work,
            std::optional<RunWriter>& store, const Verifier& verifier) {
  World& world = rank.world;
  use_gpu(gpu_of(world));
  log_rank_map(world, rank.config);
  Mailbox mailbox(world);
  part.emplace(part_path(rank.folder, world.search_index(), rank.attempt, /*sequence=*/1), rank.info, world.rank(),
               rank.config.store.part());
  SearchWorker worker(world, mailbox, rank.config, verifier, rank.weights->model_config(), &*part);
  if (!rank.config.engine.stop.empty()) worker.set_token_bytes(rank.domain.language->token_bytes());
  log_info("engine: {}", worker.engine().description());
  worker.set_weights(*rank.weights, /*policy_version=*/0);
  if (!world.is_coordinator()) {
    search_rank_loop(world, mailbox, worker);
    return false;
  }
  std::optional<KeptRows> kept;
  if (rank.folder_state == FolderState::kResumed) kept.emplace();
  store.emplace(rank.folder, rank.info, metric_row_tables(), kept);
  for (const Benchmark& benchmark : rank.benchmarks) {
    for (const Problem& problem : benchmark.problems) store->add_problem(problem, benchmark.name);
  }
  store->flush();
  const bool finished = Evaluator(rank, mailbox, worker, *work).run();
  worker.flush();
  return finished;
}

}  // namespace

Config evaluation_config(const EvaluateRequest& request) {
  std::vector<std::string> overrides = request.overrides;
  const auto set = [&](const char* key, const fs::path& value) {
    if (!value.empty()) overrides.push_back(fmt::format("{}=\"{}\"", key, value.string()));
  };
  if (!request.model.empty() && !request.checkpoint.empty()) bad_input("give either --model or --checkpoint");
  set("model.path", request.checkpoint.empty() ? request.model : checkpoint_folder(request.checkpoint));
  set("evaluate.folder", request.benchmarks);
  std::string path = request.config_path;
  if (path.empty() && !request.checkpoint.empty()) path = config_of_run(request.checkpoint);
  Config config = read_config(path, overrides, ReadFor::kSampling);
  if (config.model.path.empty()) bad_input("evaluate whom? Give --model FOLDER or --checkpoint RUN");
  set_response_length(config, config.evaluate.max_tokens);
  checked_ks(config.evaluate);
  config.ranks.mode = "colocated";  // every rank samples
  config.ranks.learners = 1;
  if (!config.store.trees()) {
    bad_input(
        "[store].level = \"metrics\" keeps no responses, and scores are made of them: use \"recorded\" or \"all\"");
  }
  return config;
}

int run_evaluate(World& world, EvaluateRequest& request) {
  install_stop_signals();
  Rank rank{.world = world, .folder = request.run_folder};
  agree(world, [&] { rank.config = evaluation_config(request); });
  agree(world, [&] { world.assign_roles(rank.config.ranks); });
  agree(world, [&] { set_up(rank); });
  prepare_folder(rank, request);
  rank.info = run_info(world, rank.config, request.command_line);
  rank.info.rank_layout = world.size() == 1 ? "1 rank that samples" : fmt::format("{} ranks that sample", world.size());
  start_log(world.who(), log_level_of(rank.config.run), /*to_terminal=*/world.is_coordinator());
  const fs::path log_file = (request.log_folder.empty() ? rank.folder / "log" : request.log_folder) /
                            fmt::format("rank-{:04}.log", world.rank());
  log_to_file(log_file);
  StuckWatch stuck_watch(world);
  stuck_watch.log_to(log_file);
  enter_phase(kSetUpPhase);
  if (world.is_coordinator()) log_start(rank);

  const Stopwatch watch;
  const std::unique_ptr<Verifier> verifier = make_verifier(rank.config.verify, rank.domain);
  std::optional<BenchmarkRun> work;
  if (world.is_coordinator()) {
    work.emplace(rank.benchmarks, rank.config.evaluate, rank.config.search.max_depth * rank.config.search.step_tokens,
                 rank.domain.language->eos_tokens(), *verifier, make_same_answer(rank.config.verify, rank.domain));
    read_back(rank, *work);
  }
  std::optional<PartWriter> part;
  std::optional<RunWriter> store;
  request.phase = "sampling";
  const bool finished = sample(rank, part, work, store, *verifier);
  enter_phase(request.phase = "closing files");
  part->close();  // before run.h5 is finished, so that it links to whole files
  const std::vector<std::string> parts = world.gather_text(
      part_path({}, world.search_index(), rank.attempt, 1).filename().string(), world.coordinator_rank());
  if (store && finished) {
    write_results(rank, *work, *store, watch.seconds(), parts);
  } else if (store) {
    store->finish("interrupted: " + stop_text(), watch.seconds(), parts);
    log_warning("stopped ({}) after {} of {} problems: --resume goes on (exit code {})", stop_text(), work->done(),
                work->problems(), stop_code());
  }
  std::string code = std::to_string(finished ? kExitOk : stop_code());
  world.broadcast_text(code, world.coordinator_rank());
  return std::stoi(code);
}

}  // namespace deepsearch
