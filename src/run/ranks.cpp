#include "run/ranks.h"

#include <utility>
#include <vector>

#include "comm/watchdog.h"
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

bool says_stop(const AnyMessage& message) {
  const auto* control = std::get_if<ControlMessage>(&message);
  return control != nullptr && control->command == ControlMessage::Command::kStop;
}

bool says_save(const AnyMessage& message) {
  const auto* control = std::get_if<ControlMessage>(&message);
  return control != nullptr && control->command == ControlMessage::Command::kSave;
}

void answer_saved(World& world, Mailbox& mailbox) {
  ControlMessage saved;
  saved.command = ControlMessage::Command::kSaved;
  mailbox.send(world.coordinator_rank(), saved);
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

}  // namespace

void search_rank_loop(World& world, Mailbox& mailbox, SearchWorker& worker) {
  HeartbeatSender heartbeat(world, mailbox);
  StopNotice notice;
  const char* phase = nullptr;
  for (;;) {
    const Stopwatch waiting;
    const double patience = worker.receiving() ? kReceiving : kPatience;
    std::optional<Envelope> envelope = worker.computes() ? mailbox.receive() : mailbox.wait(patience);
    if (!worker.computes()) worker.add_waiting(waiting.seconds());
    for (; envelope; envelope = mailbox.receive()) {
      if (says_stop(envelope->message)) {
        worker.drop_all(kFarewell);
        ReportMessage goodbye;
        goodbye.last = true;
        mailbox.send(world.coordinator_rank(), goodbye);
        mailbox.flush(kFarewell);
        return;
      }
      if (says_save(envelope->message)) {
        worker.flush();
        answer_saved(world, mailbox);
      }
      worker.handle(*envelope);
    }
    worker.receive_weights();
    worker.pump();
    notice.send_if_asked(world, mailbox);
    if (phase != worker.phase()) heartbeat.enter_phase(phase = worker.phase(), now_seconds());
    heartbeat.tick(worker.trees_done(), worker.engine().counters().tokens_generated,
                   worker.engine().counters().busy_seconds, now_seconds());
  }
}

void learner_rank_loop(World& world, Mailbox& mailbox, const Config& config, Trainer& trainer) {
  HeartbeatSender heartbeat(world, mailbox);
  StopNotice notice;
  std::vector<TreeRecord> batch;
  heartbeat.enter_phase("waiting for a batch", now_seconds());
  for (;;) {
    std::optional<Envelope> envelope = mailbox.wait(kPatience);
    notice.send_if_asked(world, mailbox);
    heartbeat.tick(0, 0, 0, now_seconds());
    if (!envelope) continue;
    if (says_stop(envelope->message)) return;
    if (auto* tree = std::get_if<TreeMessage>(&envelope->message)) batch.push_back(std::move(tree->tree));
    const auto* control = std::get_if<ControlMessage>(&envelope->message);
    if (says_save(envelope->message)) {
      heartbeat.enter_phase("saving", now_seconds());
      const OptimizerState state = trainer.optimizer_state();
      if (state.ranks > 1) write_optimizer_state(control->why, state);
      answer_saved(world, mailbox);
      heartbeat.enter_phase("waiting for a batch", now_seconds());
    }
    if (control != nullptr && control->command == ControlMessage::Command::kLearn) {
      heartbeat.enter_phase("learning", now_seconds());
      const auto tick = [&] { heartbeat.tick(0, 0, 0, now_seconds()); };
      trainer.train(minibatches_of(batch, config.learn.minibatch_problems, config.credit), tick,
                    /*version=*/control->step - 1);
      batch.clear();
      heartbeat.enter_phase("waiting for a batch", now_seconds());
    }
  }
}

}  // namespace deepsearch
