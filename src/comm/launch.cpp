#include "comm/launch.h"

#include <charconv>
#include <cstring>

#include <fmt/format.h>

namespace deepsearch {
namespace {

// 0 where the variable is missing or not a number.
int number(const Environment& environment, const char* name) {
  const char* text = environment(name);
  if (text == nullptr) return 0;
  int value = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  return error == std::errc() && *end == '\0' ? value : 0;
}

}  // namespace

std::string launch_mismatch(int mpi_size, const Environment& environment) {
  if (mpi_size > 1) return "";
  const int by_mpirun = number(environment, "OMPI_COMM_WORLD_SIZE");
  if (by_mpirun > 1) {
    return fmt::format(
        "mpirun started {0} processes (OMPI_COMM_WORLD_SIZE={0}), but MPI sees a world of 1: mpirun and the MPI "
        "library of "
        "this program are of different installations; use the mpirun that lies beside that library: mpirun -n {0} "
        "deepsearch …",
        by_mpirun);
  }
  if (by_mpirun == 1) return "";  // mpirun -n 1 inside a larger Slurm step is what was asked for
  // A batch script has SLURM_NTASKS too, and a single process in it is legitimate: only a step's tasks count.
  if (environment("SLURM_STEP_ID") != nullptr) {
    int tasks = number(environment, "SLURM_STEP_NUM_TASKS");
    if (tasks == 0) tasks = number(environment, "SLURM_NTASKS");
    if (tasks > 1) {
      return fmt::format(
          "Slurm started {0} tasks, but each is an MPI world of 1 (srun without PMIx support); start it with: srun "
          "--mpi=pmix -n {0} deepsearch …, or with: mpirun -n {0} deepsearch …",
          tasks);
    }
  }
  const int by_pmi = number(environment, "PMI_SIZE");
  if (by_pmi > 1) {
    return fmt::format(
        "the launcher started {0} processes (PMI_SIZE={0}), but each is an MPI world of 1: the launcher is not of this "
        "program's MPI; start it with: mpirun -n {0} deepsearch …, or with: srun --mpi=pmix -n {0} deepsearch …",
        by_pmi);
  }
  return "";
}

}  // namespace deepsearch
