// The trainer over MPI. Run under mpirun: learner_mpi LEARNERS. Exit code 0: they make the parameters of one.
#include <cstdlib>

#include "comm/collectives.h"
#include "comm/world.h"
#include "mpi/trainer_checks.h"

using namespace deepsearch;  // NOLINT(google-build-using-namespace)

int main(int argc, char** argv) {
  World world(&argc, &argv);
  RanksParams ranks;
  ranks.learners = argc > 1 ? std::atoi(argv[1]) : 1;
  world.assign_roles(ranks);
  int failed = 0;
  if (world.learns()) {
    const auto group = make_learner_collectives(world, Transport::kMpi);
    failed = check_trainer(*group);
  }
  return world.first_error(failed != 0 ? "the parameters differ" : "").empty() ? 0 : 1;
}
