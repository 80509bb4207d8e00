#include "run/ranks.h"

#include <utility>
#include <vector>

#include "comm/watchdog.h"
#include "core/error.h"
#include "core/log.h"
#include "core/signals.h"
#include "core/timer.h"
#include "run/batch.h"
#include "run/checkpoint_optimizer.h"

namespace deepsearch {

namespace {

constexpr double kPatience = 0.05;    // seconds an idle rank sleeps at a time
constexpr double kReceiving = 0.001;  // … while weights are coming in
constexpr double kFarewell = 5;       // seconds for the last messages to leave

using Command = ControlMessage::Command;

bool says(const AnyMessage& message, Command command) {
  const auto* control = std::get_if<ControlMessage>(&message);
  return control != nullptr && control->command == command;
}

void answer(World& world, Mailbox& mailbox, Command command, const std::string& why = "") {
  ControlMessage answer;
  answer.command = command;
  answer.why = why;
  mailbox.send(world.coordinator_rank(), answer);
}

// Tells the coordinator, once, that this rank was asked to stop by a signal: the job ends as a whole.
class StopNotice {
 public:
  void send_if_asked(World& world, Mailbox& mailbox) {
    if (sent_ || !stop_requested()) return;
    HeartbeatMessage notice;
    notice.host = world.host();
    notice.phase = "stopping";
    notice.stopping = stop_signal();
    mailbox.send(world.coordinator_rank(), notice);
    sent_ = true;
  }

 private:
  bool sent_ = false;
};

// A rank that follows the coordinator, with one role or both.
class Follower {
 public:
  Follower(World& world, Mailbox& mailbox, SearchWorker* worker, Trainer* trainer, const Config* config)
      : world_(world),
        mailbox_(mailbox),
        worker_(worker),
        trainer_(trainer),
        config_(config),
        heartbeat_(world, mailbox) {}

  // Until the coordinator says stop: listen, work, and between pieces of work listen again.
  void run() {
    while (!stopped_) {
      for (std::optional<Envelope> envelope = next(); envelope && !stopped_; envelope = mailbox_.receive()) {
        take(*envelope);
      }
      if (stopped_) break;
      if (worker_ != nullptr) {
        worker_->receive_weights();
        worker_->pump();
      }
      notice_.send_if_asked(world_, mailbox_);
      enter(worker_ != nullptr ? worker_->phase() : "waiting for a batch");
      tick();
    }
    say_goodbye();
  }

 private:
  bool busy() const { return worker_ != nullptr && worker_->computes(); }

  std::optional<Envelope> next() {
    if (busy()) return mailbox_.receive();
    const Stopwatch waiting;
    std::optional<Envelope> envelope =
        mailbox_.wait(worker_ != nullptr && worker_->receiving() ? kReceiving : kPatience);
    if (worker_ != nullptr) worker_->add_waiting(waiting.seconds());
    return envelope;
  }

  void enter(const char* phase) {
    if (phase == phase_) return;
    phase_ = phase;
    heartbeat_.enter_phase(phase, now_seconds());
  }

  void tick() {
    if (worker_ == nullptr) {
      heartbeat_.tick(0, 0, 0, now_seconds());
    } else {
      const EngineCounters& counters = worker_->engine().counters();
      heartbeat_.tick(worker_->trees_done(), counters.tokens_generated, counters.busy_seconds, now_seconds());
    }
  }

  void take(Envelope& envelope) {
    if (says(envelope.message, Command::kStop)) {
      stopped_ = true;
    } else if (says(envelope.message, Command::kSave)) {
      save(std::get<ControlMessage>(envelope.message).why);
    } else if (says(envelope.message, Command::kHalt)) {
      if (worker_ != nullptr) worker_->drop_trees();
      answer(world_, mailbox_, Command::kHalted);
    } else if (says(envelope.message, Command::kLearn)) {
      learn(std::get<ControlMessage>(envelope.message));
    } else if (auto* tree = std::get_if<TreeMessage>(&envelope.message)) {
      batch_.push_back(std::move(tree->tree));
    } else if (std::holds_alternative<HeartbeatMessage>(envelope.message)) {
      // The coordinator's sign of life.
    } else if (worker_ == nullptr || !worker_->handle(envelope)) {
      nobody_takes(world_, envelope);
    }
  }

  void save(const std::string& folder) {
    enter("saving");
    if (worker_ != nullptr) worker_->flush();
    std::string error;
    if (trainer_ != nullptr) {
      const OptimizerState state = trainer_->optimizer_state();
      try {
        if (state.ranks > 1) write_optimizer_state(folder, state);
      } catch (const Error& failed) {
        error = failed.what();  // the coordinator decides
      }
    }
    answer(world_, mailbox_, Command::kSaved, error);
  }

  void learn(const ControlMessage& order) {
    const int64_t step = order.step;
    enter("learning");
    if (worker_ != nullptr) worker_->suspend();
    trainer_->set_progress(order.progress);
    trainer_->train(
        minibatches_of(batch_, config_->learn.minibatch_problems, config_->credit), [this] { tick(); },
        /*version=*/step - 1);
    batch_.clear();
    if (worker_ != nullptr) {
      trainer_->give_back_memory();
      worker_->set_weights(trainer_->weights(), step);
    }
  }

  void say_goodbye() {
    if (worker_ == nullptr) return;
    worker_->drop_all(kFarewell);
    ReportMessage goodbye;
    goodbye.last = true;
    mailbox_.send(world_.coordinator_rank(), goodbye);
    mailbox_.flush(kFarewell);
  }

  World& world_;
  Mailbox& mailbox_;
  SearchWorker* worker_;
  Trainer* trainer_;
  const Config* config_;
  HeartbeatSender heartbeat_;
  StopNotice notice_;
  const char* phase_ = nullptr;
  std::vector<TreeRecord> batch_;
  bool stopped_ = false;
};

}  // namespace

void search_rank_loop(World& world, Mailbox& mailbox, SearchWorker& worker) {
  Follower(world, mailbox, &worker, nullptr, nullptr).run();
}

void learner_rank_loop(World& world, Mailbox& mailbox, const Config& config, Trainer& trainer) {
  Follower(world, mailbox, nullptr, &trainer, &config).run();
}

void colocated_rank_loop(World& world, Mailbox& mailbox, const Config& config, Trainer& trainer, SearchWorker& worker,
                         int64_t step) {
  worker.set_weights(trainer.weights(), step);
  Follower(world, mailbox, &worker, &trainer, &config).run();
}

}  // namespace deepsearch
