// Who may write into a run's folder.
#include "store/run_folder.h"

#include <gmock/gmock.h>

#include "core/files.h"
#include "random_tree.h"

namespace deepsearch {
namespace {

using store_test::error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

class RunFolderTest : public store_test::StoreTest {
 protected:
  fs::path run_ = "";
  void SetUp() override {
    StoreTest::SetUp();
    run_ = folder_ / "runs" / "a";
  }
  void make_run() {
    prepare_run_folder(run_, false, false);
    for (const char* name : {"config.toml", "run.h5", "parts/s0000-a01-0001.h5", "parts/s0001-a02-0003.h5",
                             "parts/s0001-a02-0004.h5.tmp", "log/rank-0003.log"}) {
      write_file_atomically(run_ / name, "x");
    }
    fs::create_directories(run_ / "checkpoints" / "step-000050");
    write_file_atomically(run_ / "checkpoints" / "step-000050" / "manifest.json", "x");
  }
};

TEST_F(RunFolderTest, ANewFolderIsMade) {
  EXPECT_EQ(prepare_run_folder(run_, false, false), FolderState::kFresh);
  for (const char* name : {"parts", "log", "checkpoints"}) EXPECT_TRUE(fs::is_directory(run_ / name)) << name;
}

TEST_F(RunFolderTest, ResumeOfNothingIsFresh) {
  EXPECT_EQ(prepare_run_folder(run_, false, true), FolderState::kFresh);
}

TEST_F(RunFolderTest, ARunIsRefusedWithoutAFlag) {
  make_run();
  const Error error = error_of([&] { prepare_run_folder(run_, false, false); });
  EXPECT_EQ(error.exit_code(), kExitBadInput);
  EXPECT_THAT(error.what(), HasSubstr("--resume"));
  EXPECT_THAT(error.what(), HasSubstr("--force"));
  EXPECT_THAT(error.what(), HasSubstr(run_.string()));
}

TEST_F(RunFolderTest, BothFlagsAreRefused) {
  EXPECT_EQ(error_of([&] { prepare_run_folder(run_, true, true); }).exit_code(), kExitBadInput);
}

TEST_F(RunFolderTest, ForceDoesNotDeleteTheModelThatTheJobStartsFrom) {
  make_run();
  const fs::path used = run_ / "checkpoints" / "step-000050";
  const Error error = error_of([&] { prepare_run_folder(run_, true, false, used); });
  EXPECT_EQ(error.exit_code(), kExitBadInput);
  EXPECT_THAT(error.what(), HasSubstr("--force would delete " + used.string()));
  EXPECT_TRUE(fs::exists(used / "manifest.json"));
  EXPECT_TRUE(fs::exists(run_ / "run.h5"));
  EXPECT_EQ(prepare_run_folder(run_, true, false, run_ / "base"), FolderState::kFresh);  // a run does not write that
}

TEST_F(RunFolderTest, ResumeTouchesNothing) {
  make_run();
  EXPECT_EQ(prepare_run_folder(run_, false, true), FolderState::kResumed);
  EXPECT_TRUE(fs::exists(run_ / "run.h5"));
  EXPECT_TRUE(fs::exists(run_ / "checkpoints" / "step-000050" / "manifest.json"));
  EXPECT_EQ(next_attempt(run_), 3);
}

TEST_F(RunFolderTest, ForceDeletesWhatARunWroteAndNothingElse) {
  make_run();
  const std::vector<fs::path> foreign = {run_ / "notes.txt", run_ / "parts" / "mine.h5", run_ / "checkpoints" / "best",
                                         run_ / "log" / "notes.log"};
  for (const fs::path& path : foreign) write_file_atomically(path, "mine");
  EXPECT_EQ(prepare_run_folder(run_, true, false), FolderState::kFresh);
  for (const fs::path& path : foreign) EXPECT_TRUE(fs::exists(path)) << path;
  for (const char* name : {"config.toml", "run.h5", "parts/s0000-a01-0001.h5", "parts/s0001-a02-0004.h5.tmp",
                           "log/rank-0003.log", "checkpoints/step-000050"}) {
    EXPECT_FALSE(fs::exists(run_ / name)) << name;
  }
  EXPECT_EQ(next_attempt(run_), 1);
}

// Killed between its first file and its run.h5, which comes only when a model has been loaded.
TEST_F(RunFolderTest, AnEvaluationThatHasHardlyBegunIsTakenOverOrReplaced) {
  prepare_run_folder(run_, false, false);
  for (const char* name : {"config.toml", "evaluation.json", "table.md", ".evaluation.json.tmp"}) {
    write_file_atomically(run_ / name, "x");
  }
  EXPECT_EQ(prepare_run_folder(run_, false, true), FolderState::kResumed);
  EXPECT_TRUE(fs::exists(run_ / "evaluation.json"));
  EXPECT_EQ(prepare_run_folder(run_, true, false), FolderState::kFresh);
  for (const char* name : {"config.toml", "evaluation.json", "table.md"}) EXPECT_FALSE(fs::exists(run_ / name)) << name;
}

TEST_F(RunFolderTest, AFolderOfOthersIsRefusedWhateverTheFlags) {
  create_folders(run_);
  write_file_atomically(run_ / "thesis.tex", "x");
  for (const bool force : {false, true}) {
    const Error error = error_of([&] { prepare_run_folder(run_, force, !force); });
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    EXPECT_THAT(error.what(), HasSubstr("'thesis.tex'"));
  }
  EXPECT_THAT(error_of([&] { prepare_run_folder(run_, false, false); }).what(), HasSubstr("'thesis.tex'"));
  EXPECT_TRUE(fs::exists(run_ / "thesis.tex"));
}

TEST_F(RunFolderTest, AFileIsNoFolder) {
  write_file_atomically(folder_ / "file", "x");
  EXPECT_THAT(error_of([&] { prepare_run_folder(folder_ / "file", true, false); }).what(), HasSubstr("this is a file"));
}

TEST_F(RunFolderTest, PartsAreListedByName) {
  make_run();
  EXPECT_EQ(part_path(run_, 1, 2, 3), run_ / "parts" / "s0001-a02-0003.h5");
  EXPECT_THAT(list_parts(run_), ElementsAre(part_path(run_, 0, 1, 1), part_path(run_, 1, 2, 3)));
  EXPECT_TRUE(list_parts(folder_ / "none").empty());
}

}  // namespace
}  // namespace deepsearch
