#include "core/memory.h"

#include <fstream>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "temp_folder.h"

namespace deepsearch {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

TEST(Memory, GivenBackIsFreed) {
  std::vector<std::string> v(1000, "x");
  v = {};
  EXPECT_GE(v.capacity(), 1000U) << "then give_back() is not needed";
  v.resize(10);
  give_back(v);
  EXPECT_EQ(v.capacity(), 0U);
}

TEST(Memory, SomeIsFreeAndNoMoreThanTheMachineHas) {
  std::ifstream file("/proc/meminfo");
  std::string name;
  int64_t total = 0;
  ASSERT_TRUE(file >> name >> total);
  EXPECT_GT(available_memory(), 1 << 20);
  EXPECT_LE(available_memory(), total * 1024);
}

TEST(Memory, RefusesInOneLineWhatCannotFit) {
  EXPECT_NO_THROW(check_fits_memory(0, "nothing"));
  EXPECT_NO_THROW(check_fits_memory(1 << 20, "little"));
  try {
    check_fits_memory(int64_t{1} << 60, "model: the weights");
    FAIL() << "an exabyte fits";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    EXPECT_THAT(error.what(),
                ::testing::MatchesRegex("model: the weights need [0-9.]+ GB of memory, [0-9.]+ GB are free"));
  }
}

TEST(Memory, TheTightestGroupOnTheWayUpCounts) {
  const TempFolder folder;
  const fs::path root = folder.path() / "cgroup";
  write(folder.path() / "groups", "0::/job/step\n");
  EXPECT_EQ(memory_left_in_groups(folder.path() / "groups", root), kUnlimited);
  write(root / "job/step/memory.max", "max\n");
  write(root / "job/step/memory.current", "700\n");
  EXPECT_EQ(memory_left_in_groups(folder.path() / "groups", root), kUnlimited);
  write(root / "job/memory.max", "1000\n");
  write(root / "job/memory.current", "900\n");
  EXPECT_EQ(memory_left_in_groups(folder.path() / "groups", root), 100);
  // Page cache can be taken back.
  write(root / "job/memory.stat", "anon 600\nfile 300\ninactive_file 250\nactive_file 50\n");
  EXPECT_EQ(memory_left_in_groups(folder.path() / "groups", root), 400);
  write(root / "job/step/memory.max", "750\n");
  EXPECT_EQ(memory_left_in_groups(folder.path() / "groups", root), 50);
  write(root / "job/step/memory.max", "600\n");  // already over it
  EXPECT_EQ(memory_left_in_groups(folder.path() / "groups", root), 0);
}

TEST(Memory, ReadsVersionOneGroups) {
  const TempFolder folder;
  const fs::path root = folder.path() / "cgroup";
  write(folder.path() / "groups", "12:cpuset:/\n5:memory:/slurm\n1:name=systemd:/x\n");
  write(root / "memory/slurm/memory.limit_in_bytes", "5000\n");
  write(root / "memory/slurm/memory.usage_in_bytes", "2000\n");
  EXPECT_EQ(memory_left_in_groups(folder.path() / "groups", root), 3000);
  // What version 1 writes for "none" is no limit below the machine's memory.
  write(root / "memory/slurm/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_GT(memory_left_in_groups(folder.path() / "groups", root), int64_t{1} << 60);
  EXPECT_EQ(memory_left_in_groups(folder.path() / "absent", root), kUnlimited);
}

}  // namespace
}  // namespace deepsearch
