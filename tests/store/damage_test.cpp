// Damaged files: bytes flipped, blocks zeroed, tails cut. The reader, in a child with bounded time and memory, must
// either say what is wrong (one Error, exit code 2) or read something. On a few of them libhdf5 1.10 itself crashes
// (in H5Literate, over links that point outside their heap); `check` must come through those too.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>

#include "core/files.h"
#include "random_tree.h"
#include "store/check.h"
#include "store/part_writer.h"
#include "store/readers.h"
#include "store/run_writer.h"

namespace deepsearch {
namespace {

using namespace store_test;  // NOLINT: the tests' own helpers

using DamageTest = StoreTest;

std::string damaged(const std::string& bytes, RandomStream& rng) {
  std::string copy = bytes;
  switch (rng.below(4)) {
    case 0:
      copy.resize(rng.below(copy.size()));
      break;
    case 1: {
      const uint64_t first = rng.below(copy.size());
      const uint64_t count = std::min<uint64_t>(1 + rng.below(64), copy.size() - first);
      std::fill_n(copy.begin() + static_cast<std::ptrdiff_t>(first), count, rng.below(2) == 0 ? '\0' : '\xFF');
      break;
    }
    default:
      for (uint64_t flips = 1 + rng.below(8); flips > 0; --flips) {
        copy[rng.below(copy.size())] ^= static_cast<char>(1 << rng.below(8));
      }
  }
  return copy;
}

void write_plainly(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

struct Outcomes {
  int read = 0;
  int refused = 0;
  int crashed = 0;
  int other = 0;
};

// 0: read. 102: refused as bad input. A crash: the check of the same file says so. Anything else is described.
void count(int status, int trial, const std::filesystem::path& path, Outcomes& outcomes) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    ++outcomes.read;
  } else if (WIFEXITED(status) && WEXITSTATUS(status) == 100 + kExitBadInput) {
    ++outcomes.refused;
  } else if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGABRT)) {
    ++outcomes.crashed;
    EXPECT_FALSE(check_file(path).clean()) << "mutation " << trial;
  } else {
    ++outcomes.other;
    ADD_FAILURE() << "mutation " << trial
                  << (WIFSIGNALED(status) ? fmt::format(": signal {}", WTERMSIG(status))
                                          : fmt::format(": exit status {}", WEXITSTATUS(status)));
  }
}

constexpr uint64_t kMemory = uint64_t{4} << 30;

int trials() {
  const char* wanted = std::getenv("DEEPSEARCH_FUZZ_TRIALS");
  return wanted == nullptr ? 60 : std::atoi(wanted);
}

uint64_t fuzz_seed() {
  const char* wanted = std::getenv("DEEPSEARCH_FUZZ_SEED");
  return wanted == nullptr ? 1 : static_cast<uint64_t>(std::atoll(wanted));
}

TEST_F(DamageTest, DamagedPartsAreReadOrRefused) {
  RandomStream rng(fuzz_seed(), RngPurpose::kTests, 50);
  const auto path = folder_ / "part.h5";
  // Written in a child: this process's HDF5 stays untouched, so each child starts from a fresh library.
  ASSERT_EQ(in_child([&] {
              PartWriter writer(path, some_info(), 0, {.flush_seconds = 1000.0});
              for (int i = 0; i < 8; ++i) writer.append(random_tree(rng, 30));
              return 0;
            }),
            0);
  const std::string whole = read_file(path, 1 << 26);
  Outcomes outcomes;
  for (int trial = 0; trial < trials(); ++trial) {
    write_plainly(path, damaged(whole, rng));
    const int status = in_child(
        [&] {
          const PartReader reader(path);
          reader.rows();
          for (int64_t row = 0; row < reader.n_trees(); ++row) reader.tree(row);
          return 0;
        },
        20, kMemory);
    count(status, trial, path, outcomes);
    if (outcomes.other > 0) {
      std::filesystem::copy_file(path,
                                 std::filesystem::temp_directory_path() / fmt::format("damaged-part-{}.h5", trial),
                                 std::filesystem::copy_options::overwrite_existing);
      break;
    }
  }
  std::printf("parts: %d read, %d refused, %d crashed libhdf5\n", outcomes.read, outcomes.refused, outcomes.crashed);
  EXPECT_LE(20 * outcomes.crashed, trials());
  EXPECT_GT(outcomes.read, 0);
  EXPECT_GT(outcomes.refused, 0);
}

TEST_F(DamageTest, DamagedRunFilesAreReadOrRefused) {
  RandomStream rng(fuzz_seed(), RngPurpose::kTests, 51);
  ASSERT_EQ(in_child([&] {
              RunWriter writer(folder_, some_info(), {{"learner", {"step", "loss"}}, {"eval", {"step"}}});
              for (int step = 0; step < 30; ++step) writer.append("learner", {{"step", step}, {"loss", 1}});
              for (int i = 0; i < 5; ++i) writer.add_problem(random_problem(rng), "train");
              writer.finish("finished", 1, {});
              return 0;
            }),
            0);
  const auto path = folder_ / "run.h5";
  const std::string whole = read_file(path, 1 << 26);
  Outcomes outcomes;
  for (int trial = 0; trial < trials(); ++trial) {
    write_plainly(path, damaged(whole, rng));
    const int status = in_child(
        [&] {
          const RunReader reader(folder_);
          reader.state();
          reader.problems();
          for (const std::string& table : reader.tables()) {
            for (const std::string& name : reader.columns(table)) reader.column(table, name);
          }
          return 0;
        },
        20, kMemory);
    count(status, trial, path, outcomes);
    if (outcomes.other > 0) {
      std::filesystem::copy_file(path, std::filesystem::temp_directory_path() / fmt::format("damaged-run-{}.h5", trial),
                                 std::filesystem::copy_options::overwrite_existing);
      break;
    }
  }
  std::printf("run files: %d read, %d refused, %d crashed libhdf5\n", outcomes.read, outcomes.refused,
              outcomes.crashed);
  EXPECT_LE(20 * outcomes.crashed, trials());
  EXPECT_GT(outcomes.read, 0);
  EXPECT_GT(outcomes.refused, 0);
}

}  // namespace
}  // namespace deepsearch
