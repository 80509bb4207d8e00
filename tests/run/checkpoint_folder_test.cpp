#include "run/checkpoint_folder.h"

#include <fstream>

#include <gmock/gmock.h>

#include "core/error.h"
#include "core/files.h"
#include "core/temp_folder.h"

namespace deepsearch {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CheckpointFolder : public ::testing::Test {
 protected:
  void make(int64_t step, const std::string& content = "weights") {
    write_files(begin_checkpoint(run_, step), content);
    publish_checkpoint(run_, step);
  }

  static void write_files(const fs::path& folder, const std::string& content) {
    write_file_atomically(folder / "config.json", "{}");
    write_file_atomically(folder / "model.safetensors", content);
    write_file_atomically(folder / "resume" / "run.json", "{}");
  }

  std::string why_not(int64_t step) {
    try {
      check_checkpoint(checkpoint_path(run_, step));
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), kExitBadInput) << error.what();
      return error.what();
    }
    return "";
  }

  std::optional<int64_t> newest() {
    skipped_.clear();
    return newest_checkpoint(run_, [this](const std::string& why) { skipped_.push_back(why); });
  }

  TempFolder temp_;
  fs::path run_ = temp_.path() / "run";
  std::vector<std::string> skipped_;
};

TEST_F(CheckpointFolder, IsThereOnceItIsPublished) {
  EXPECT_EQ(newest(), std::nullopt);
  write_files(begin_checkpoint(run_, 7), "weights");
  EXPECT_EQ(newest(), std::nullopt);
  publish_checkpoint(run_, 7);
  EXPECT_EQ(newest(), 7);
  EXPECT_EQ(why_not(7), "");
  make(12);
  EXPECT_EQ(newest(), 12);
  EXPECT_THAT(checkpoint_steps(run_), ElementsAre(7, 12));
  EXPECT_THAT(skipped_, IsEmpty());
}

TEST_F(CheckpointFolder, ReplacesOneOfTheSameStep) {
  make(7, "old");
  make(7, "newer");
  EXPECT_EQ(why_not(7), "");
  EXPECT_EQ(read_file(checkpoint_path(run_, 7) / "model.safetensors", 100), "newer");
  EXPECT_THAT(checkpoint_steps(run_), ElementsAre(7));
}

TEST_F(CheckpointFolder, DamageIsNamedAndTheOneBeforeIsTaken) {
  make(7);
  const fs::path folder = checkpoint_path(run_, 8);
  const auto damaged = [&](const auto& damage) {
    make(8);
    damage();
    EXPECT_EQ(newest(), 7);
    return skipped_.size() == 1 ? skipped_.front() : "";
  };
  EXPECT_THAT(damaged([&] { fs::remove(folder / "manifest.json"); }), HasSubstr("no manifest.json"));
  EXPECT_THAT(damaged([&] { fs::resize_file(folder / "manifest.json", 40); }), HasSubstr("manifest.json"));
  EXPECT_THAT(damaged([&] { fs::remove(folder / "resume/run.json"); }), HasSubstr("resume/run.json: not there"));
  EXPECT_THAT(damaged([&] { fs::resize_file(folder / "model.safetensors", 3); }),
              HasSubstr("model.safetensors: 3 bytes instead of 7"));
  EXPECT_THAT(damaged([&] { std::ofstream(folder / "model.safetensors") << "Weights"; }), HasSubstr("checksum"));
  EXPECT_THAT(damaged([&] { std::ofstream(folder / "manifest.json") << R"({"format": 3, "version": [1]})"; }),
              HasSubstr("manifest.json"));
  EXPECT_THAT(damaged([&] {
                std::ofstream(folder / "manifest.json")
                    << R"({"format": "deepsearch checkpoint", "version": 1, "step": 8,
                           "files": {"../step-000007/config.json": {"bytes": 2, "xxh64": "0"}}})";
              }),
              HasSubstr("does not lie in the checkpoint"));
  EXPECT_THAT(damaged([&] {
                std::ofstream(folder / "manifest.json")
                    << R"({"format": "deepsearch checkpoint", "version": 1, "step": 8, "files": {}})";
              }),
              HasSubstr("lists no config.json"));
}

TEST_F(CheckpointFolder, AnyByteOfTheManifestMayBeWrong) {
  make(7);
  make(8);
  const fs::path path = checkpoint_path(run_, 8) / "manifest.json";
  const std::string whole = read_file(path, 10000);
  int passed_over = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int bits : {4, 128}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ bits);
      std::ofstream(path, std::ios::binary) << changed;
      if (newest() == 8) continue;  // a blank that is a line's end now
      EXPECT_EQ(newest(), 7) << at;
      ASSERT_EQ(skipped_.size(), 1U) << at;
      EXPECT_EQ(skipped_.front().find('\n'), std::string::npos) << skipped_.front();
      EXPECT_THAT(skipped_.front(), HasSubstr("step-000008"));
      ++passed_over;
    }
  }
  EXPECT_GT(passed_over, static_cast<int>(3 * whole.size() / 2));
  std::ofstream(path, std::ios::binary) << std::string(whole).replace(whole.find("\"version\": 1"), 12,
                                                                      "\"version\": 7");
  EXPECT_EQ(newest(), 7);
  EXPECT_THAT(skipped_, ElementsAre(HasSubstr("manifest.json: of format version 7, this program reads version 1")));
}

TEST_F(CheckpointFolder, LeftoversOfAKillAreCleaned) {
  make(7);
  make(8);
  write_files(begin_checkpoint(run_, 9), "half");
  fs::rename(checkpoint_path(run_, 8), run_ / "checkpoints" / "step-000008.tmp");  // between the two renames
  fs::create_directory(run_ / "checkpoints" / "step-000007.tmp");
  write_file_atomically(run_ / "checkpoints" / "notes.txt", "mine");
  clean_checkpoints(run_);
  EXPECT_EQ(newest(), 8);
  EXPECT_FALSE(fs::exists(run_ / "checkpoints" / "tmp-step-000009"));
  EXPECT_FALSE(fs::exists(run_ / "checkpoints" / "step-000007.tmp"));
  EXPECT_TRUE(fs::exists(run_ / "checkpoints" / "notes.txt"));
  EXPECT_EQ(why_not(7), "");
}

TEST(SurplusCheckpoints, KeepsTheNewestAndMultiples) {
  const std::vector<int64_t> steps = {5, 10, 13, 15, 20, 21};
  EXPECT_THAT(surplus_checkpoints(steps, {.newest = 2, .every = 10}), ElementsAre(5, 13, 15));
  EXPECT_THAT(surplus_checkpoints(steps, {.newest = 1}), ElementsAre(5, 10, 13, 15, 20));
  EXPECT_THAT(surplus_checkpoints(steps, {.newest = 0, .made_every = 5}), ElementsAre(13));
  EXPECT_THAT(surplus_checkpoints(steps, {.newest = 0}), ElementsAre(5, 10, 13, 15, 20));
  EXPECT_THAT(surplus_checkpoints(steps, {.newest = 9}), IsEmpty());
  EXPECT_THAT(surplus_checkpoints({}, {.newest = 1}), IsEmpty());
}

}  // namespace
}  // namespace deepsearch
