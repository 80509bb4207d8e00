#include "run/problem_source.h"

#include <filesystem>
#include <set>
#include <unistd.h>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "data/problem_file.h"

namespace deepsearch {
namespace {

class ProblemSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("problem_source_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    TaskParams params;
    params.name = "bag";
    params.sizes = {3};
    task_ = make_task(params);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(int n) {
    std::vector<ProblemRow> rows(static_cast<size_t>(n));
    for (int i = 0; i < n; ++i)
      rows[static_cast<size_t>(i)].problem = task_->problem(Split::kTrain, static_cast<uint64_t>(i));
    write_problem_file(folder_ / "problems.jsonl", rows);
    return (folder_ / "problems.jsonl").string();
  }
  std::string error_of(const std::string& path) {
    try {
      const ProblemSource source(*task_, {.train_file = path, .test_file = ""}, 1);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), kExitBadInput);
      return error.what();
    }
    return "";
  }

  std::filesystem::path folder_;
  std::unique_ptr<Task> task_;
};

TEST_F(ProblemSourceTest, GeneratesWithoutAFile) {
  const ProblemSource source(*task_, {}, 1);
  EXPECT_EQ(source.size(Split::kTrain), -1);
  EXPECT_EQ(source.problem(Split::kTest, 5).prompt, task_->problem(Split::kTest, 5).prompt);
}

TEST_F(ProblemSourceTest, GoesThroughAFileInANewOrderEachTime) {
  const ProblemSource source(*task_, {.train_file = write(20), .test_file = ""}, 1);
  ASSERT_EQ(source.size(Split::kTrain), 20);
  std::vector<std::string> first;
  std::vector<std::string> second;
  for (int i = 0; i < 20; ++i) first.push_back(source.problem(Split::kTrain, i).prompt);
  for (int i = 20; i < 40; ++i) second.push_back(source.problem(Split::kTrain, i).prompt);
  EXPECT_NE(first, second);
  EXPECT_EQ(std::multiset<std::string>(first.begin(), first.end()),
            std::multiset<std::string>(second.begin(), second.end()));
  const Problem problem = source.problem(Split::kTrain, 3);
  EXPECT_EQ(problem.prompt_tokens, task_->encode(problem.prompt));
}

TEST_F(ProblemSourceTest, BadFilesAreNamedWithTheirLine) {
  EXPECT_NE(error_of((folder_ / "none.jsonl").string()).find("none.jsonl"), std::string::npos);
  const std::string path = write(3);
  std::string text = read_file(path, 1 << 20);
  write_file_atomically(path,
                        text + "{\"id\": \"x\", \"source\": \"bag\", \"problem\": \"3 apples\", \"answer\": \"1\"}\n");
  EXPECT_NE(error_of(path).find(":4: "), std::string::npos) << error_of(path);
  write_file_atomically(path, text + "{\"id\": ");
  EXPECT_NE(error_of(path).find(":4: "), std::string::npos) << error_of(path);
}

}  // namespace
}  // namespace deepsearch
