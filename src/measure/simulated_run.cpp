#include "measure/simulated_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "comm/stuck_watch.h"
#include "core/error.h"
#include "core/timer.h"
#include "run/coordinator.h"
#include "run/ranks.h"
#include "run/search_worker.h"
#include "simulate/simulated_engine.h"
#include "simulate/workload.h"

namespace deepsearch {

namespace {

// The model whose weights travel: as small as one can be.
ModelConfig token_model() {
  ModelConfig model;
  model.vocab_size = 8;
  model.hidden_size = 16;
  model.n_layers = 1;
  model.n_heads = 1;
  model.n_kv_heads = 1;
  model.intermediate_size = 16;
  model.max_positions = 16;
  model.eos_tokens = {1};
  return model;
}

Config config_of(const ClusterParams& params, const RanksParams& ranks, bool share) {
  Config config;
  config.run.seed = params.cluster.seed;
  config.search = simulated_search(params);
  config.ranks = ranks;
  config.ranks.share = share;
  config.store.level = "metrics";
  return config;
}

std::vector<AssignMessage::Item> step_items(const ClusterParams& params, const Workload& workload, int64_t step) {
  std::vector<AssignMessage::Item> items;
  for (int64_t i = 0; i < params.cluster.problems; ++i) {
    const int64_t index = step * params.cluster.problems + i;
    AssignMessage::Item item;
    item.problem = workload.problem(index);
    item.key = {.round = 0, .step = 0, .problem_index = index, .problem_key = item.problem.key, .attempt = 0};
    item.work = params.search.when == When::kAlways        ? AssignMessage::Work::kTree
                : params.search.when == When::kGroupFailed ? AssignMessage::Work::kHandOver
                                                           : AssignMessage::Work::kGroup;
    item.samples = params.search.group;
    items.push_back(std::move(item));
  }
  return items;
}

std::string text_of(const RankTrace& rank, int64_t sent, int64_t received, int64_t bytes) {
  nlohmann::json busy = nlohmann::json::array();
  for (const BusyPeriod& period : rank.busy) busy.push_back({period.begin, period.end});
  const TimedCounters& engine = rank.engine;
  const SharingCounters& sharing = rank.sharing;
  return nlohmann::json{
      {"busy", busy},
      {"engine",
       {engine.decode_steps, engine.tokens_generated, engine.tokens_prefilled, engine.busy_seconds,
        engine.running_seconds, engine.waiting_seconds}},
      {"sharing", {sharing.expansions_lent, sharing.expansions_helped, sharing.tokens_helped, sharing.tokens_resent}},
      {"late", rank.late_seconds},
      {"mail", {sent, received, bytes}}}
      .dump();
}

void add_rank(ClusterTrace& trace, const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text);
  trace.messages += json["mail"][0].get<int64_t>();
  trace.messages_received += json["mail"][1].get<int64_t>();
  trace.bytes += json["mail"][2].get<int64_t>();
  RankTrace rank;
  for (const auto& period : json["busy"]) rank.busy.push_back({period[0], period[1]});
  const auto& engine = json["engine"];
  rank.engine = {.decode_steps = engine[0],
                 .tokens_generated = engine[1],
                 .tokens_prefilled = engine[2],
                 .busy_seconds = engine[3],
                 .running_seconds = engine[4],
                 .waiting_seconds = engine[5]};
  const auto& sharing = json["sharing"];
  rank.sharing = {.expansions_lent = sharing[0],
                  .expansions_helped = sharing[1],
                  .tokens_helped = sharing[2],
                  .tokens_resent = sharing[3]};
  rank.late_seconds = json["late"];
  trace.ranks.push_back(std::move(rank));
}

// The coordinator's side, steps and all.
class Conductor {
 public:
  Conductor(World& world, Mailbox& mailbox, const ClusterParams& params, const RanksParams& ranks,
            const Workload& workload, const SimulatedClock& clock)
      : params_(params),
        workload_(workload),
        clock_(clock),
        mailbox_(mailbox),
        weights_(std::make_shared<const ModelWeights>(fresh_weights(token_model(), 1))),
        coordinator_(world, mailbox, ranks, nullptr, DType::kF32) {}

  ClusterTrace run() {
    coordinator_.publish(weights_, 0);
    pass_until(clock_.now() + kSettle / clock_.time_scale);
    const double cpu = cpu_seconds();
    const int64_t in = mailbox_.messages_received();
    const int64_t out = mailbox_.messages_sent();
    for (int64_t step = 0; step < params_.cluster.steps; ++step) one_step(step);
    trace_.messages_in = mailbox_.messages_received() - in;
    trace_.messages_out = mailbox_.messages_sent() - out;
    trace_.coordinator_seconds = (cpu_seconds() - cpu) / clock_.time_scale;
    trace_.leases_made = coordinator_.dispatcher().leases_made();
    coordinator_.stop_all("finished");
    return std::move(trace_);
  }

 private:
  static constexpr double kSettle = 0.3;  // seconds on the wall for the first weights to arrive

  // Does what a learning coordinator does: looks at its mail now and then.
  void pass_until(double simulated) {
    while (clock_.now() < simulated) {
      coordinator_.keep_alive();
      clock_.sleep_until(std::min(simulated, clock_.now() + 0.02 / clock_.time_scale));
    }
  }

  void one_step(int64_t index) {
    StepTrace step;
    step.begin = clock_.now();
    const Harvest harvest = coordinator_.grow(step_items(params_, workload_, index), [&](int64_t done) {
      while (std::ssize(step.finished) < done) step.finished.push_back(clock_.now());
    });
    if (harvest.interrupted) failure("stopped in step {} of {}", index + 1, params_.cluster.steps);
    for (const TreeMessage& record : harvest.records) {
      step.trained_tokens += trained_tokens(record.tree) * params_.workload.token_scale;
    }
    const double searched = step.searched();
    pass_until(searched + static_cast<double>(step.trained_tokens) / params_.learner.tokens_per_second);
    step.learn_end = clock_.now();
    coordinator_.publish(weights_, index + 1);
    pass_until(step.learn_end + params_.learner.weights_gb / params_.network.bandwidth_gbs);
    step.end = clock_.now();
    coordinator_.take_reports();
    trace_.steps.push_back(std::move(step));
  }

  const ClusterParams& params_;
  const Workload& workload_;
  const SimulatedClock clock_;
  Mailbox& mailbox_;
  std::shared_ptr<const ModelWeights> weights_;
  Coordinator coordinator_;
  ClusterTrace trace_;
};

// What other ranks sent while this one was ending its loop.
void drain(World& world, Mailbox& mailbox) {
  constexpr double kFarewell = 10;
  constexpr double kQuiet = 0.05;
  mailbox.flush(kFarewell);
  world.barrier("ending a simulated cluster");
  while (mailbox.wait(kQuiet)) {
  }
  world.barrier("ending a simulated cluster");
}

}  // namespace

RanksParams ranks_of(const ClusterParams& params, int world_size) {
  if (world_size != params.cluster.search_ranks + 1) {
    bad_input("[cluster].search_ranks = {} as real processes are {}, one of them the coordinator; started: {}",
              params.cluster.search_ranks, params.cluster.search_ranks + 1, world_size);
  }
  RanksParams ranks;
  ranks.learners = 1;
  ranks.problems_in_flight = params.cluster.problems_in_flight;
  ranks.stuck_seconds = 600;  // many processes on few cores may be slow
  return ranks;
}

std::optional<ClusterTrace> run_simulated(World& world, Mailbox& mailbox, const ClusterParams& params, bool share) {
  const StuckWatch stuck_watch(world);
  const Workload workload(params);
  const Config config = config_of(params, world.params(), share);
  world.barrier("starting a simulated cluster");
  // One host's processes share their clock; others start theirs when they are through the barrier.
  SimulatedClock clock{.origin = now_seconds(), .time_scale = params.real.time_scale};
  std::string origin = fmt::format("{:.17g} {}", clock.origin, world.host());
  world.broadcast_text(origin, world.coordinator_rank());
  if (world.host() == world.host_of(world.coordinator_rank())) clock.origin = std::stod(origin);

  const int64_t sent = mailbox.messages_sent();
  const int64_t received = mailbox.messages_received();
  const int64_t bytes = mailbox.bytes_sent();
  if (world.is_coordinator()) {
    ClusterTrace trace = Conductor(world, mailbox, params, config.ranks, workload, clock).run();
    drain(world, mailbox);
    trace.messages = mailbox.messages_sent() - sent;
    trace.messages_received = mailbox.messages_received() - received;
    trace.bytes = mailbox.bytes_sent() - bytes;
    const std::vector<std::string> texts = world.gather_text("", world.rank());
    for (const std::string& text : texts) {
      if (!text.empty()) add_rank(trace, text);
    }
    return trace;
  }
  auto engine = std::make_unique<SimulatedEngine>(workload.script(), simulated_engine(params), world.rank(),
                                                  token_model(), clock);
  const SimulatedEngine& simulated = *engine;
  SearchWorker worker(world, mailbox, config, workload, token_model(), nullptr, std::move(engine));
  search_rank_loop(world, mailbox, worker);
  drain(world, mailbox);
  const RankTrace trace{.busy = simulated.timed().busy(),
                        .engine = simulated.timed().counters(),
                        .sharing = worker.sharing(),
                        .late_seconds = simulated.late_seconds()};
  world.gather_text(text_of(trace, mailbox.messages_sent() - sent, mailbox.messages_received() - received,
                            mailbox.bytes_sent() - bytes),
                    world.coordinator_rank());
  return std::nullopt;
}

}  // namespace deepsearch
