#include "run/warm_starting.h"

#include <memory>

#include "comm/collectives.h"
#include "comm/stuck_watch.h"
#include "core/activity.h"
#include "core/log.h"
#include "core/progress.h"
#include "learn/warm_start.h"
#include "run/fine_tuning.h"
#include "run/setup.h"

namespace deepsearch {

int run_warm_start(World& world, const Config& config, const std::filesystem::path& out) {
  std::unique_ptr<Task> task;
  ModelWeights start;
  agree(world, [&] {
    task = make_task(config.task);
    start = start_weights(config, *task);
  });
  const auto collectives = make_learner_collectives(world, transport_of(config.ranks));
  const bool speaks = world.rank() == 0;
  if (speaks) {
    log_info("warm start on {}: {}, {} updates of {} demonstrations", config.task.name, describe_model(start),
             config.sft.steps, config.sft.batch);
  }
  Progress progress("warm start", config.sft.steps, /*enabled=*/speaks);
  LearnParams learn = config.learn;
  learn.threads = learner_threads(config.learn, world);
  const StuckWatch stuck_watch(world);
  enter_phase(kSetUpPhase);
  const SupervisedModel trained =
      warm_start(start, config.task, config.sft, learn, *collectives, [&](const WarmStartProgress& now) {
        enter_phase("training");
        progress.update(now.step, fmt::format("loss {:.4f}", now.loss));
      });
  progress.finish();
  return save_unless_stopped(world, trained.stop_signal, [&] {
    save_policy(out, trained.weights, *task);
    log_info("saved {}", out.string());
  });
}

}  // namespace deepsearch
