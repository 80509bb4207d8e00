// Run under mpirun: `optimizer_mpi LEARNERS` checks AdamW over MPI. Exit code 0: everything held on all ranks.
#include <cstdio>
#include <cstdlib>

#include "comm/collectives.h"
#include "comm/world.h"
#include "core/error.h"
#include "mpi/optimizer_checks.h"

int main(int argc, char** argv) {
  using namespace deepsearch;  // NOLINT(google-build-using-namespace)
  World world(&argc, &argv);
  RanksParams ranks;
  ranks.learners = argc > 1 ? std::atoi(argv[1]) : 1;
  world.assign_roles(ranks);
  int failed = 0;
  try {
    if (world.learns()) failed = check_optimizer(*make_learner_collectives(world, Transport::kMpi));
  } catch (const Error& error) {
    world.abort("checking", error.what(), error.exit_code());
  }
  return world.first_error(failed != 0 ? "checks failed" : "").empty() ? 0 : 1;
}
