// `deepsearch check`: what it finds, what it mends, and what it says of files that are none.
#include "store/check.h"

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/files.h"
#include "random_tree.h"
#include "store/handles.h"
#include "store/part_writer.h"
#include "store/readers.h"
#include "store/run_folder.h"
#include "store/run_writer.h"

namespace deepsearch {
namespace {

using namespace store_test;  // NOLINT: the tests' own helpers
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Writers work in children, so that this process, which forks for each check, has no HDF5 of its own.
class CheckTest : public StoreTest {
 protected:
  std::filesystem::path part() const { return part_path(folder_, 0, 1, 1); }

  void write_run(int trees, const std::string& how = "finished") {
    const int status = in_child([&] {
      RandomStream rng(7, RngPurpose::kTests, 90);
      RunWriter run(folder_, some_info(), {{"learner", {"step", "loss"}}, {"eval", {"step"}}});
      PartWriter writer(part(), some_info(), 0, {.flush_seconds = 1000.0});
      for (int i = 0; i < trees; ++i) {
        const TreeRecord tree = tree_of_a_search(rng, 60);
        run.add_problem(tree.problem, "train");
        run.append("learner", {{"step", i}, {"loss", 0.5}});
        writer.append(tree);
      }
      writer.close();
      run.finish(how, 1, {part().string()});
      return 0;
    });
    ASSERT_EQ(status, 0);
  }

  static TreeRecord tree_of_a_search(RandomStream& rng, uint64_t max_nodes) {
    TreeRecord tree = random_tree(rng, max_nodes);
    tree.key.problem_key = tree.problem.key;
    return tree;
  }
  static std::vector<std::string> findings(const RunReport& report) {
    std::vector<std::string> all = report.findings;
    for (const FileReport& file : report.files) all.insert(all.end(), file.findings.begin(), file.findings.end());
    return all;
  }
};

TEST_F(CheckTest, AWholeRunIsClean) {
  write_run(30);
  const RunReport report = check_run(folder_, false);
  EXPECT_THAT(findings(report), IsEmpty());
  ASSERT_EQ(report.files.size(), 2U);
  EXPECT_EQ(report.files[1].state, FileState::kClosed);
  EXPECT_THAT(report.files[1].contents, HasSubstr("30 trees, "));
}

// Kills at random moments of a writer that flushes now and then: whole trees stay, and a mended file is clean.
TEST_F(CheckTest, WhatAKillLeftIsMendedWithoutLosingAWholeRow) {
  const char* wanted = std::getenv("DEEPSEARCH_KILL_TRIALS");
  const int trials = wanted == nullptr ? 2 : std::atoi(wanted);
  RandomStream moments(11, RngPurpose::kTests, 91);
  int with_trees = 0;
  for (int trial = 0; trial < trials; ++trial) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "parts");
    const pid_t child = fork();
    if (child == 0) {
      RandomStream rng(static_cast<uint64_t>(trial), RngPurpose::kTests, 92);
      RunWriter run(folder_, some_info(), {{"learner", {"step", "loss"}}, {"eval", {"step"}}});
      PartWriter writer(part(), some_info(), 0, {.flush_seconds = 0.01, .mantissa_bits = 12});
      for (int i = 0;; ++i) {
        const TreeRecord tree = tree_of_a_search(rng, 200);
        run.add_problem(tree.problem, "train");
        run.append("learner", {{"step", i}, {"loss", 0.5}});
        if (i % 3 == 0) run.flush();
        writer.append(tree);
      }
    }
    while (!std::filesystem::exists(part())) usleep(1000);
    EXPECT_EQ(check_file(part()).state, FileState::kLive);
    usleep(static_cast<useconds_t>(20000 + moments.below(200000)));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);

    const RunReport found = check_run(folder_, false);
    ASSERT_EQ(found.files.size(), 2U);
    EXPECT_EQ(found.files[0].state, FileState::kKilled);
    EXPECT_EQ(found.files[1].state, FileState::kKilled);
    EXPECT_THAT(findings(found), Contains(HasSubstr("its writer was killed")));
    const std::string before = found.files[1].contents;
    with_trees += before.starts_with("0 trees") ? 0 : 1;

    const RunReport mended = check_run(folder_, true);
    EXPECT_THAT(findings(mended), IsEmpty());
    const RunReport after = check_run(folder_, false);
    EXPECT_THAT(findings(after), IsEmpty());
    EXPECT_EQ(after.files[0].contents, found.files[0].contents);
    EXPECT_EQ(after.files[1].contents, before);
    EXPECT_EQ(in_child([&] {
                const PartReader reader(part());
                for (int64_t row = 0; row < reader.n_trees(); ++row) reader.tree(row);
                return reader.state() == "closed" && RunReader(folder_).state() == "interrupted" ? 0 : 1;
              }),
              0);
  }
  EXPECT_GT(with_trees, 0);
}

TEST_F(CheckTest, FilesThatAreNoneAreNamedInOneLine) {
  write_run(3);
  const auto line_of = [&](const std::string& bytes) {
    const auto path = folder_ / "some.h5";
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    const std::vector<std::string> found = check_file(path).findings;
    EXPECT_EQ(found.size(), 1U);
    EXPECT_EQ(check_file(path).state, FileState::kDamaged);
    return found.empty() ? std::string() : found.front();
  };
  const std::string whole = read_file(part(), 1 << 26);
  EXPECT_THAT(line_of(""), HasSubstr("some.h5: empty"));
  EXPECT_THAT(line_of("a text\n"), HasSubstr("some.h5: HDF5 could not open the file"));
  EXPECT_THAT(line_of(whole.substr(0, whole.size() / 2)), HasSubstr("some.h5: HDF5 could not open the file"));
  EXPECT_THAT(check_file(folder_ / "none.h5").findings, Contains(HasSubstr("none.h5: cannot open: No such file")));
}

// The two numbers of schema_version lie in the file as they are; the object's checksum is HDF5's to renew.
TEST_F(CheckTest, NewerForeignAndLockedFilesAreNamedInOneLine) {
  write_run(2);
  const auto path = folder_ / "run.h5";
  const int changed = in_child([&] {
    const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t version = H5Aopen(file, "schema_version", H5P_DEFAULT);
    const int64_t newer[] = {2, 3};
    const bool written = H5Awrite(version, H5T_STD_I64LE, newer) >= 0;
    H5Aclose(version);
    return H5Fclose(file) >= 0 && written ? 0 : 1;
  });
  ASSERT_EQ(changed, 0);
  const std::vector<std::string> newer = check_file(path).findings;
  ASSERT_EQ(newer.size(), 1U);
  EXPECT_THAT(newer.front(), HasSubstr("run.h5: schema version 2.3"));

  const auto foreign = folder_ / "foreign.h5";
  const int made = in_child([&] {
    const hid_t file = H5Fcreate(foreign.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    return H5Fclose(file) >= 0 ? 0 : 1;
  });
  ASSERT_EQ(made, 0);
  const std::vector<std::string> other = check_file(foreign).findings;
  ASSERT_EQ(other.size(), 1U);
  EXPECT_THAT(other.front(), HasSubstr("foreign.h5: an HDF5 file of something else"));

  std::filesystem::permissions(foreign, std::filesystem::perms::none);
  const std::vector<std::string> locked = check_file(foreign).findings;
  ASSERT_EQ(locked.size(), 1U);
  if (geteuid() != 0) {  // whom nothing is locked to
    EXPECT_THAT(locked.front(), HasSubstr("foreign.h5: cannot open: Permission denied"));
  }
}

TEST_F(CheckTest, FilesThatDoNotBelongTogetherAreNamed) {
  write_run(3);
  std::filesystem::copy_file(part(), part_path(folder_, 1, 1, 1));
  EXPECT_THAT(findings(check_run(folder_, false)), Contains(HasSubstr("no link to parts/s0001-a01-0001.h5")));
  std::filesystem::remove(part());
  EXPECT_THAT(findings(check_run(folder_, false)), Contains(HasSubstr("parts/s0000-a01-0001.h5 is missing")));
  EXPECT_EQ(error_of([&] { check_run(folder_ / "parts" / "none", false); }).exit_code(), kExitBadInput);
}

// The beginning of a run of version 1.0, written before tokens had policy versions.
TEST_F(CheckTest, ARunOfTheVersionBeforeIsReadAndClean) {
  const std::filesystem::path run = std::filesystem::path(DEEPSEARCH_SOURCE_DIR) / "tests/store/data/version-1.0";
  const RunReport report = check_run(run, false);
  EXPECT_THAT(findings(report), IsEmpty());
  ASSERT_EQ(report.files.size(), 2U);
  EXPECT_THAT(report.files[1].contents, HasSubstr("6 trees, "));
  EXPECT_EQ(in_child([&] {
              const PartReader part_reader(run / "parts" / "s0000-a01-0001.h5");
              const TreeRecord tree = part_reader.tree(0);
              const bool told = tree.token_versions ==
                                std::vector<int32_t>(tree.tokens.size(), static_cast<int32_t>(tree.policy_version));
              return told && !tree.tokens.empty() && RunReader(run).column("learner", "step").size() == 5 ? 0 : 1;
            }),
            0);
}

// Bytes flipped anywhere: a clean answer or a line, whatever libhdf5 makes of it.
TEST_F(CheckTest, DamagedFilesNeverEndTheCheck) {
  write_run(8);
  const char* wanted = std::getenv("DEEPSEARCH_FUZZ_TRIALS");
  const int trials = wanted == nullptr ? 25 : std::atoi(wanted);
  RandomStream rng(3, RngPurpose::kTests, 93);
  int found = 0;
  for (const auto& path : {folder_ / "run.h5", part()}) {
    const std::string whole = read_file(path, 1 << 26);
    for (int trial = 0; trial < trials; ++trial) {
      std::string bytes = whole;
      for (uint64_t flips = 1 + rng.below(8); flips > 0; --flips) {
        bytes[rng.below(bytes.size())] ^= static_cast<char>(1 << rng.below(8));
      }
      const auto damaged = folder_ / "damaged.h5";
      std::ofstream(damaged, std::ios::binary | std::ios::trunc) << bytes;
      const FileReport report = check_file(damaged);
      found += report.clean() ? 0 : 1;
      if (report.state == FileState::kDamaged) {
        EXPECT_FALSE(report.clean());
      }
    }
  }
  EXPECT_GT(found, 0);
}

}  // namespace
}  // namespace deepsearch
