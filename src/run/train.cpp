#include "run/train.h"

#include <optional>
#include <sstream>
#include <utility>

#include "comm/collectives.h"
#include "comm/gpu.h"
#include "comm/mailbox.h"
#include "comm/stuck_watch.h"
#include "core/activity.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/signals.h"
#include "core/timer.h"
#include "core/version.h"
#include "learn/trainer.h"
#include "run/checkpoint_folder.h"
#include "run/checkpoint_optimizer.h"
#include "run/coordinator.h"
#include "run/domain.h"
#include "run/flat_weights.h"
#include "run/problem_source.h"
#include "run/rank_map.h"
#include "run/ranks.h"
#include "run/resume.h"
#include "run/rounds_driver.h"
#include "run/search_worker.h"
#include "run/setup.h"
#include "run/stopping.h"
#include "run/training.h"
#include "run/verification.h"
#include "store/part_writer.h"
#include "store/run_folder.h"
#include "store/run_writer.h"

namespace deepsearch {

namespace {

// What every rank has once set-up is through.
struct Rank {
  World& world;
  Config config = {};
  Domain domain = {};
  std::unique_ptr<const ProblemSource> problems = nullptr;
  ModelConfig model = {};
  ModelWeights start = {};  // a learner's, until it has a trainer
  RunInfo info = {};
  std::filesystem::path folder;
  ResumePoint from = {};  // the coordinator's; others know the step
  FolderState folder_state = FolderState::kFresh;
  int attempt = 1;                          // of the files that are written
  std::optional<RoundsDriver> rounds = {};  // the coordinator's
};

// How the run ended; known to the coordinator.
struct Ending {
  bool finished = false;
  double seconds = 0;
};

Safeguard::Vocabulary safeguard_vocabulary(const std::shared_ptr<const Language>& language) {
  return {.pad = language->pad_token(), .eos = language->eos_tokens(), .decode = [language](TokenSpan tokens) {
            return language->decode(tokens);
          }};
}

void coordinate(Rank& rank, Mailbox& mailbox, Trainer& trainer, SearchWorker* local, Ending& ending,
                std::optional<RunWriter>& store) {
  const Stopwatch watch;
  const std::optional<RoundsDriver>& rounds = rank.rounds;
  std::optional<KeptRows> kept;
  if (rank.folder_state == FolderState::kResumed) {
    kept.emplace();
    if (rank.from.step) {
      *kept = {.step = rank.from.state.step,
               .evaluated = rank.from.state.evaluated_step,
               .rounds = rounds ? rounds->round() + (rounds->filtering() ? 0 : 1) : 0};
    }
  }
  store.emplace(rank.folder, rank.info, metric_row_tables(), kept);
  Coordinator coordinator(rank.world, mailbox, rank.config.ranks, local, type_sent(rank.config.engine));
  Training training(rank.config, *rank.domain.language, *rank.problems, rank.world, coordinator, trainer, *store,
                    rank.folder, std::move(rank.from.state), std::move(rank.from.finished),
                    rank.rounds ? &*rank.rounds : nullptr);
  ending.finished = training.run();
  training.halt();
  training.save_checkpoint();
  coordinator.stop_all(ending.finished ? "finished" : "stopped");
  training.record_search();
  ending.seconds = watch.seconds();
  if (!ending.finished) {
    log_warning("stopped ({}) after {} of {} steps, checkpoints/step-{:06} holds them: --resume goes on (exit code {})",
                stop_text(), training.steps_done(), rank.config.learn.steps, training.steps_done(), stop_code());
    return;
  }
  const Evaluation& base = training.evaluations().front();
  const Evaluation& trained = training.evaluations().back();
  fmt::print("held-out Pass@{}: base {:.3f} -> trained {:.3f}\n", base.k, base.pass_at_k, trained.pass_at_k);
  fmt::print("held-out Pass@1: base {:.3f} -> trained {:.3f} ({} problems, {} samples)\n", base.pass_at_1,
             trained.pass_at_1, base.problems, base.samples);
}

void run_roles(Rank& rank, Ending& ending, std::optional<RunWriter>& store, std::optional<PartWriter>& part) {
  World& world = rank.world;
  use_gpu(gpu_of(world));
  if (world.is_coordinator()) log_info("{}", gpu_summary());
  log_rank_map(world, rank.config);
  Mailbox mailbox(world);
  const std::unique_ptr<Verifier> verifier = make_verifier(rank.config.verify, rank.domain);
  std::optional<SearchWorker> worker;
  if (world.searches()) {
    if (rank.config.store.trees()) {
      part.emplace(part_path(rank.folder, world.search_index(), rank.attempt, /*sequence=*/1), rank.info, world.rank(),
                   rank.config.store.part());
    }
    worker.emplace(world, mailbox, rank.config, *verifier, rank.model, part ? &*part : nullptr);
    if (rank.config.rounds.on() && rank.config.rounds.safeguard) {
      worker->set_safeguard(Safeguard(rank.config.rounds, safeguard_vocabulary(rank.domain.language)));
    }
    if (!rank.config.engine.stop.empty()) worker->set_token_bytes(rank.domain.language->token_bytes());
    log_info("engine: {}", worker->engine().description());
  }
  if (!world.learns()) {
    search_rank_loop(world, mailbox, *worker);
    return;
  }
  const auto collectives = make_learner_collectives(world, transport_of(rank.config.ranks));
  if (world.is_coordinator()) log_info("gradients: {}", collectives->description());
  const int64_t per_step = (rank.config.learn.problems + rank.config.learn.minibatch_problems - 1) /
                           rank.config.learn.minibatch_problems * rank.config.learn.epochs;
  LearnParams learn = rank.config.learn;
  learn.threads = learner_threads(learn, world);
  learn.response_budget = rank.config.credit.response_budget;
  // Greedy steps carry the values of temperature 1 (data/step.h).
  learn.temperature = rank.config.search.temperature > 0 ? rank.config.search.temperature : 1.0;
  Trainer trainer(rank.start, learn, *collectives, per_step * learn.steps);
  rank.start = {};
  if (rank.from.step) {
    trainer.restore(read_optimizer_state(checkpoint_path(rank.folder, *rank.from.step), trainer.optimizer_layout()));
  }
  if (world.is_coordinator()) {
    coordinate(rank, mailbox, trainer, worker ? &*worker : nullptr, ending, store);
  } else if (worker) {
    colocated_rank_loop(world, mailbox, rank.config, trainer, *worker, rank.from.step.value_or(0));
  } else {
    learner_rank_loop(world, mailbox, rank.config, trainer);
  }
}

// What a checkpoint says of rounds.
void restore_rounds(RoundsDriver& rounds, const RunState& state) {
  const std::string folder = fmt::format("checkpoints/step-{:06}/resume/", state.step);
  const std::string where = folder + "rounds.bin";
  if (state.rounds.empty()) bad_input("{}: not there, but the run has rounds", where);
  rounds.restore(state.rounds, state.cache, where, folder + "replay_cache.bin");
}

// Makes or takes over the folder; every rank then knows the attempt and the checkpoint.
void prepare_folder(Rank& rank, const TrainRequest& request) {
  World& world = rank.world;
  agree(world, [&] {
    if (!world.is_coordinator()) return;
    rank.folder_state = prepare_run_folder(rank.folder, request.force, request.resume, rank.config.model.path);
    rank.from.state = first_state(rank.config, rank.start, world.n_learners());
    if (rank.folder_state == FolderState::kFresh) return;
    rank.from = find_resume_point(rank.folder, rank.config, rank.from.state);
    rank.attempt = next_attempt(rank.folder);
    if (rank.rounds && rank.from.step) restore_rounds(*rank.rounds, rank.from.state);
  });
  std::string known = fmt::format("{} {}", rank.attempt, rank.from.step.value_or(-1));
  world.broadcast_text(known, world.coordinator_rank());
  int64_t step = -1;
  std::istringstream(known) >> rank.attempt >> step;
  if (step >= 0) rank.from.step = step;
}

void log_start(const Rank& rank) {
  log_info("{}, {}; {}", rank.info.rank_layout, rank.folder.string(), describe_model(rank.start));
  for (const std::string& remark : rank.from.remarks) log_warning("{}", remark);
  for (const std::string& remark : rank.problems->remarks()) log_info("{}", remark);
  if (rank.folder_state == FolderState::kFresh) return;
  if (!rank.from.step) {
    log_info("resumed: no checkpoint yet, from the beginning");
    return;
  }
  log_info("resumed from checkpoints/step-{:06}, {} of {} steps done; {} finished trees need not be grown again",
           *rank.from.step, *rank.from.step, rank.config.learn.steps, rank.from.finished.size());
}

}  // namespace

int run_train(World& world, TrainRequest& request) {
  install_stop_signals();
  Rank rank{.world = world, .folder = request.run_folder};
  agree(world, [&] { rank.config = read_config(request.config_path, request.overrides); });
  agree(world, [&] { world.assign_roles(rank.config.ranks); });
  agree(world, [&] {
    check_layout(rank.config, world);
    rank.domain = make_domain(rank.config);
    rank.problems =
        std::make_unique<ProblemSource>(rank.domain, rank.config.problems, static_cast<uint64_t>(rank.config.run.seed));
    if (world.learns()) rank.start = start_weights(rank.config, *rank.domain.language);
    rank.model = world.learns() ? rank.start.config : start_model(rank.config, *rank.domain.language);
    if (rank.config.rounds.on() && world.is_coordinator()) {
      rank.rounds.emplace(rank.config, *rank.problems, cache_identity(*rank.domain.language, rank.model));
    }
  });
  prepare_folder(rank, request);
  rank.info = run_info(world, rank.config, request.command_line);
  agree(world, [&] {
    if (world.is_coordinator()) write_file_atomically(rank.folder / "config.toml", rank.info.config_text);
  });
  start_log(world.who(), log_level_of(rank.config.run), /*to_terminal=*/world.is_coordinator());
  const std::filesystem::path log_file = (request.log_folder.empty() ? rank.folder / "log" : request.log_folder) /
                                         fmt::format("rank-{:04}.log", world.rank());
  log_to_file(log_file);
  if (world.is_coordinator()) log_start(rank);

  StuckWatch stuck_watch(world);
  stuck_watch.log_to(log_file);
  enter_phase(kSetUpPhase);
  Ending ending;
  std::optional<RunWriter> store;
  std::optional<PartWriter> part;
  request.phase = world.learns() ? "training" : "searching";
  run_roles(rank, ending, store, part);
  enter_phase(request.phase = "closing files");
  if (part) part->close();  // before run.h5 is finished, so that it links to whole files
  const std::vector<std::string> parts = world.gather_text(
      part ? part_path({}, world.search_index(), rank.attempt, 1).filename().string() : "", world.coordinator_rank());
  if (store) {
    std::vector<std::string> names;
    for (const std::string& name : parts) {
      if (!name.empty()) names.push_back(name);
    }
    store->finish(ending.finished ? "finished" : "interrupted: " + stop_text(), ending.seconds, names);
  }
  std::string code = std::to_string(ending.finished ? kExitOk : stop_code());
  world.broadcast_text(code, world.coordinator_rank());
  return std::stoi(code);
}

}  // namespace deepsearch
