#include "comm/launch.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deepsearch {
namespace {

using ::testing::HasSubstr;

std::string mismatch(int mpi_size, const std::map<std::string, std::string>& variables) {
  return launch_mismatch(mpi_size, [&variables](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(Launch, ASingleProcessIsFine) {
  EXPECT_EQ(mismatch(1, {}), "");
  EXPECT_EQ(mismatch(1, {{"OMPI_COMM_WORLD_SIZE", "1"}}), "");
  EXPECT_EQ(mismatch(1, {{"PMI_SIZE", "1"}}), "");
}

TEST(Launch, ARealWorldIsFine) {
  EXPECT_EQ(mismatch(4, {{"OMPI_COMM_WORLD_SIZE", "4"}}), "");
  EXPECT_EQ(mismatch(4, {{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}}), "");
}

TEST(Launch, WorldsOfOneUnderSrunAreNamed) {
  const std::string text = mismatch(1, {{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}});
  EXPECT_THAT(text, HasSubstr("srun --mpi=pmix -n 4"));
  EXPECT_THAT(text, HasSubstr("mpirun -n 4"));
  EXPECT_THAT(mismatch(1, {{"SLURM_STEP_ID", "0"}, {"SLURM_NTASKS", "3"}}), HasSubstr("Slurm started 3 tasks"));
}

TEST(Launch, OneProcessInABatchScriptIsFine) {
  EXPECT_EQ(mismatch(1, {{"SLURM_NTASKS", "4"}}), "");
}

TEST(Launch, MpirunOfOneRankInsideALargerStepIsFine) {
  EXPECT_EQ(mismatch(1, {{"OMPI_COMM_WORLD_SIZE", "1"}, {"SLURM_STEP_ID", "2"}, {"SLURM_STEP_NUM_TASKS", "2"}}), "");
}

TEST(Launch, AForeignMpirunIsNamed) {
  EXPECT_THAT(mismatch(1, {{"OMPI_COMM_WORLD_SIZE", "2"}}), HasSubstr("different installations"));
  EXPECT_THAT(mismatch(1, {{"PMI_SIZE", "2"}}), HasSubstr("PMI_SIZE=2"));
}

TEST(Launch, NonsenseInTheEnvironmentIsIgnored) {
  EXPECT_EQ(mismatch(1, {{"PMI_SIZE", "many"}, {"OMPI_COMM_WORLD_SIZE", "-3"}}), "");
  EXPECT_EQ(mismatch(1, {{"PMI_SIZE", "99999999999999999999"}}), "");
}

}  // namespace
}  // namespace deepsearch
