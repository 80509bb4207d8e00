// Run under mpirun: the learner ranks train on one batch together; each also trains on it alone, and the parameters
// must agree. Usage: learner_mpi LEARNERS. Exit code 0: they do.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "comm/collectives.h"
#include "comm/world.h"
#include "learn/sample_rows.h"
#include "learn/solo.h"
#include "learn/trainer.h"

namespace {

using namespace deepsearch;  // NOLINT(google-build-using-namespace)

constexpr double kTolerance = 1e-5;  // largest difference over largest parameter, after three updates

ModelWeights train(Collectives& collectives) {
  LearnParams params;
  params.optimizer = {.lr = 1e-3, .warmup_steps = 0, .weight_decay = 0.1};
  params.tokens_per_microbatch = 60;
  params.threads = 1;
  Trainer trainer(fresh_weights(small_model(), 1), params, collectives, 10);
  trainer.train({sample_rows(24, 1), sample_rows(17, 2), sample_rows(9, 3)}, {});
  return trainer.weights();
}

int compare(World& world) {
  const auto together = make_learner_collectives(world, Transport::kMpi);
  SoloCollectives solo;
  const std::vector<float> many = flatten(train(*together));
  const std::vector<float> one = flatten(train(solo));
  double worst = 0;
  double largest = 0;
  for (size_t i = 0; i < one.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(many[i]) - one[i]));
    largest = std::max(largest, std::abs(static_cast<double>(one[i])));
  }
  std::printf("%s: %zu parameters, max relative difference %.2e (limit %.0e)\n", world.who().c_str(), one.size(),
              worst / largest, kTolerance);
  return worst / largest <= kTolerance ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  World world(&argc, &argv);
  RanksParams ranks;
  ranks.learners = argc > 1 ? std::atoi(argv[1]) : 1;
  world.assign_roles(ranks);
  const int failed = world.learns() ? compare(world) : 0;
  return world.first_error(failed != 0 ? "the parameters differ" : "").empty() ? 0 : 1;
}
