#include "run/problem_source.h"

#include <filesystem>
#include <map>
#include <set>
#include <unistd.h>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "data/problem_file.h"
#include "run/domain.h"

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
    domain_ = {.task = task_, .language = task_};
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
      const ProblemSource source(domain_, {.train_file = path, .test_file = ""}, 1);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), kExitBadInput);
      return error.what();
    }
    return "";
  }

  std::filesystem::path folder_;
  std::shared_ptr<const Task> task_;
  Domain domain_;
};

TEST_F(ProblemSourceTest, GeneratesWithoutAFile) {
  const ProblemSource source(domain_, {}, 1);
  EXPECT_EQ(source.size(Split::kTrain), -1);
  EXPECT_EQ(source.problem(Split::kTest, 5).prompt, task_->problem(Split::kTest, 5).prompt);
}

TEST_F(ProblemSourceTest, GoesThroughAFileInANewOrderEachTime) {
  const ProblemSource source(domain_, {.train_file = write(20), .test_file = ""}, 1);
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

// Words that a bag's problems are made of, so that texts can be told apart: "1 2 3 + + >" and the like.
std::string row(const std::string& id, const std::string& problem, const std::string& answer) {
  return R"({"id": ")" + id + R"(", "source": "bag", "problem": ")" + problem + R"(", "answer": ")" + answer + "\"}\n";
}

TEST_F(ProblemSourceTest, RepeatsContradictionsAndHeldOutProblemsAreLeftOut) {
  const std::vector<std::string> texts = {task_->problem(Split::kTrain, 0).prompt,
                                          task_->problem(Split::kTrain, 1).prompt,
                                          task_->problem(Split::kTrain, 2).prompt};
  const std::string path = (folder_ / "train.jsonl").string();
  const std::string test = (folder_ / "test.jsonl").string();
  write_file_atomically(path, row("a", texts[0], "12") + row("b", texts[1], "5") + row("c", texts[0] + " ", "12.0") +
                                  row("d", texts[1], "6") + row("e", texts[2], "1"));
  write_file_atomically(test, row("f", texts[2], "1"));
  const auto ids = [](const ProblemSource& source) {
    std::set<std::string> found;
    for (int64_t i = 0; i < source.pass_size(); ++i) found.insert(source.problem(Split::kTrain, i).id);
    return found;
  };
  const ProblemSource source(domain_, {.train_file = path, .test_file = test}, 1);
  EXPECT_EQ(ids(source), std::set<std::string>{"a"});
  ASSERT_EQ(source.remarks().size(), 3U);
  EXPECT_NE(source.remarks()[0].find("1 repeats"), std::string::npos) << source.remarks()[0];
  EXPECT_NE(source.remarks()[1].find("lines 2 (b) and 4 (d)"), std::string::npos) << source.remarks()[1];
  EXPECT_NE(source.remarks()[2].find("1 problems left out that are in"), std::string::npos) << source.remarks()[2];
  ProblemParams keep{.train_file = path};
  keep.conflicts = "keep";
  EXPECT_EQ(ids(ProblemSource(domain_, keep, 1)), (std::set<std::string>{"a", "b", "d", "e"}));
  const ProblemSource held_out(domain_, {.train_file = path, .test_file = test}, 1, /*with_training=*/false);
  EXPECT_EQ(held_out.size(Split::kTrain), -1);
  EXPECT_EQ(held_out.size(Split::kTest), 1);
}

TEST_F(ProblemSourceTest, GuessableProblemsTakeTurns) {
  const std::string path = (folder_ / "train.jsonl").string();
  std::string text;
  for (int i = 0; i < 30; ++i) {
    const std::string answer = i % 3 == 0 ? "Yes" : std::to_string(i);
    text += row(std::to_string(i), task_->problem(Split::kTrain, static_cast<uint64_t>(i)).prompt, answer);
  }
  write_file_atomically(path, text);
  ProblemParams params{.train_file = path};
  params.guessable = Guessable::kDownWeight;
  params.guessable_weight = 0.25;
  const ProblemSource source(domain_, params, 1);
  ASSERT_EQ(source.size(Split::kTrain), 30);
  ASSERT_EQ(source.pass_size(), 20 + 3);  // of ten, a quarter rounded up
  std::map<std::string, int> times;
  for (int64_t i = 0; i < 10 * 23; ++i) ++times[source.problem(Split::kTrain, i).id];
  for (const auto& [id, count] : times) EXPECT_EQ(count, std::stoi(id) % 3 == 0 ? 3 : 10) << id;
  params.guessable = Guessable::kExclude;
  EXPECT_EQ(ProblemSource(domain_, params, 1).size(Split::kTrain), 20);
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
