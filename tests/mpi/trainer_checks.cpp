#include "mpi/trainer_checks.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "learn/sample_rows.h"
#include "learn/solo.h"
#include "learn/trainer.h"

namespace deepsearch {
namespace {

// Largest difference over largest parameter, after five updates. fp32 sums in another order, which Adam's division by
// the gradient's own size makes larger where a gradient is close to nothing.
constexpr double kTolerance = 1e-6;

struct Setting {
  const char* name;
  bool sharded;
  Packing packing;
  bool checkpointing;
};

std::vector<float> train(Collectives& collectives, const Setting& setting, TrainStats& stats) {
  LearnParams params;
  params.optimizer = {.lr = 1e-4, .warmup_steps = 2, .weight_decay = 0.1};
  params.tokens_per_microbatch = 60;
  params.bucket_mb = 0.004;  // a few buckets
  params.shard_optimizer = setting.sharded;
  params.packing = setting.packing;
  params.checkpoint_activations = setting.checkpointing;
  params.threads = 1;
  Trainer trainer(fresh_weights(small_model(), 1), params, collectives, 10);
  // The third minibatch is a single micro-batch: all ranks but one come to its update without work.
  stats = trainer.train(
      {sample_tree_rows(24, 1), sample_rows(17, 2), sample_tree_rows(2, 3), sample_rows(9, 4), sample_tree_rows(31, 5)},
      {});
  return flatten(trainer.weights());
}

double worst_relative(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return worst / largest;
}

}  // namespace

int check_trainer(Collectives& group) {
  int failures = 0;
  for (const Setting& setting :
       {Setting{"sharded", true, Packing::kTree, false}, Setting{"whole", false, Packing::kTree, false},
        Setting{"sharded, checkpointed", true, Packing::kTree, true},
        Setting{"sharded, padded", true, Packing::kNone, false}}) {
    SoloCollectives solo;
    TrainStats alone;
    TrainStats together;
    const std::vector<float> expected = train(solo, setting, alone);
    const std::vector<float> seen = train(group, setting, together);
    const double difference = worst_relative(seen, expected);
    const bool same_tokens =
        together.trained_tokens == alone.trained_tokens && together.computed_tokens == alone.computed_tokens;
    std::printf("learner %d of %d, %s: %zu parameters, max relative difference %.2e (limit %.0e)\n", group.rank(),
                group.size(), setting.name, seen.size(), difference, kTolerance);
    if (difference <= kTolerance && same_tokens && together.updates == 5 &&
        std::abs(together.loss - alone.loss) < 1e-5) {
      continue;
    }
    ++failures;
    std::fprintf(stderr, "learner %d of %d: %s: not what one rank makes\n", group.rank(), group.size(), setting.name);
  }
  return failures;
}

}  // namespace deepsearch
