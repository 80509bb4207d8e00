#include "sweep/sweep.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/temp_folder.h"
#include "sweep/halving.h"
#include "sweep/status.h"

namespace deepsearch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Sweep sweep_of(const std::string& text) {
  return read_sweep_text(text, "folder/lambda.toml");
}

std::vector<std::string> names_of(const std::string& text) {
  std::vector<std::string> names;
  for (const SweepPoint& point : sweep_of(text).points) names.push_back(point.name);
  return names;
}

std::string complaint_of(const std::string& text) {
  try {
    sweep_of(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    return error.what();
  }
  return "no complaint";
}

TEST(SweepExpansion, GridAndSeedsMultiplyAndTheLastVariesFastest) {
  const Sweep sweep = sweep_of(
      "base = \"../a.toml\"\nseeds = [1, 2]\nset.learn.steps = 4\n"
      "[grid]\nsearch.width = [2, 4]\nsearch.lambda = [0.5]\n");
  EXPECT_EQ(sweep.name, "lambda");
  ASSERT_EQ(sweep.points.size(), 4U);
  EXPECT_EQ(sweep.points[0].config, "a.toml");
  EXPECT_THAT(sweep.points[1].overrides,
              ElementsAre("learn.steps=4", "search.width=2", "search.lambda=0.5", "run.seed=2"));
  EXPECT_EQ(sweep.points[1].name, "width2-lambda0.5-s2");
  EXPECT_EQ(sweep.points[2].name, "width4-lambda0.5-s1");
  EXPECT_THAT(sweep.points[2].values, ElementsAre(std::pair<std::string, std::string>("search.width", "4"),
                                                  std::pair<std::string, std::string>("search.lambda", "0.5"),
                                                  std::pair<std::string, std::string>("seed", "1")));
}

TEST(SweepExpansion, ZippedAxesGoTogetherAndListsAreWrittenOut) {
  EXPECT_THAT(names_of("[zipped]\nmodel.hidden_size = [64, 128]\nmodel.n_heads = [4, 8]\n"),
              ElementsAre("hidden_size64-n_heads4", "hidden_size128-n_heads8"));
  EXPECT_THAT(names_of("name = \"p{index}\"\n[[list]]\na.b = true\n[[list]]\na.c = [1, 2]\n"), ElementsAre("p0", "p1"));
  EXPECT_THAT(complaint_of("[zipped]\na.b = [1, 2]\na.c = [1]\n"), HasSubstr("lambda.toml:3: [zipped].a.c has 1"));
}

TEST(SweepExpansion, ValuesKeepTheirTypes) {
  const Sweep sweep = sweep_of("name = \"{index}\"\n[grid]\na.b = [1, 1.0, 1e-5, \"x\\\"y\", true, [1.5, 2.0]]\n");
  std::vector<std::string> values;
  for (const SweepPoint& point : sweep.points) values.push_back(point.overrides.front());
  EXPECT_THAT(values, ElementsAre("a.b=1", "a.b=1.0", "a.b=1e-05", "a.b=\"x\\\"y\"", "a.b=true", "a.b=[1.5, 2.0]"));
}

TEST(SweepExpansion, ABaseCanBeAnAxis) {
  const Sweep sweep =
      sweep_of("name = \"{base}-{seed}\"\nseeds = [3]\n[grid]\nbase = [\"x/one.toml\", \"two.toml\"]\n");
  ASSERT_EQ(sweep.points.size(), 2U);
  EXPECT_EQ(sweep.points[0].config, "folder/x/one.toml");
  EXPECT_EQ(sweep.points[1].name, "two-3");
  EXPECT_THAT(sweep.points[1].overrides, ElementsAre("run.seed=3"));
}

TEST(SweepExpansion, RandomAxesRepeatAndStayInRange) {
  const std::string text =
      "name = \"{index}\"\n[random]\npoints = 50\nlearn.lr = {low = 1e-5, high = 1e-3, scale = \"log\"}\n"
      "search.width = {low = 2, high = 4}\nsearch.order = {choices = [\"uct\", \"frontier\"]}\n";
  const Sweep sweep = sweep_of(text);
  ASSERT_EQ(sweep.points.size(), 50U);
  int below = 0;
  std::set<std::string> widths;
  for (const SweepPoint& point : sweep.points) {
    const double lr = std::stod(point.values[0].second);
    EXPECT_GE(lr, 1e-5);
    EXPECT_LE(lr, 1e-3);
    below += lr < 1e-4 ? 1 : 0;
    widths.insert(point.values[1].second);
  }
  EXPECT_GT(below, 10);  // log: half of them
  EXPECT_LT(below, 40);
  EXPECT_THAT(widths, ElementsAre("2", "3", "4"));
  EXPECT_EQ(sweep_of(text).points[7].overrides, sweep.points[7].overrides);
  // Another axis changes nothing in the others.
  const Sweep more = sweep_of(text + "search.lambda = {low = 0.0, high = 1.0}\n");
  EXPECT_EQ(more.points[7].overrides[0], sweep.points[7].overrides[0]);
  EXPECT_NE(sweep_of(text + "seed = 2\n").points[7].overrides, sweep.points[7].overrides);
}

TEST(SweepExpansion, BadInputIsNamedWithItsLine) {
  EXPECT_THAT(complaint_of("gird = 1\n[grid]\na.b = [1]\n"), HasSubstr("lambda.toml:1: unknown key \"gird\""));
  EXPECT_THAT(complaint_of("base = \"a.toml\"\n"), HasSubstr("no axis"));
  EXPECT_THAT(complaint_of("[grid]\na.b = 3\n"), HasSubstr("lambda.toml:2: a.b: an array of values is wanted"));
  EXPECT_THAT(complaint_of("[grid]\na.b = []\n"), HasSubstr("an array of values"));
  EXPECT_THAT(complaint_of("name = \"x\"\n[grid]\na.b = [1, 2]\n"), HasSubstr("two points are called x"));
  EXPECT_THAT(complaint_of("name = \"{c}\"\n[grid]\na.b = [1, 2]\n"), HasSubstr("no axis is called c"));
  EXPECT_THAT(complaint_of("name = \"points\"\nseeds = [1]\n"), HasSubstr("may not be called"));
  EXPECT_THAT(complaint_of("seeds = [1.5]\n"), HasSubstr("whole numbers"));
  EXPECT_THAT(complaint_of("[random]\npoints = 2\na.b = {low = 2, high = 1}\n"), HasSubstr("low < high"));
  EXPECT_THAT(complaint_of("seeds = [1]\n[halving]\nrungs = [4, 2]\n"), HasSubstr("ascending"));
  EXPECT_THAT(complaint_of("seeds = [1]\n[halving]\nkeep = 0.5\n"), HasSubstr("rungs is missing"));
  std::string many = "[grid]\n";
  for (const char* key : {"a", "b", "c", "d", "e"}) many += std::string(key) + " = [1, 2, 3, 4, 5, 6, 7, 8]\n";
  EXPECT_THAT(complaint_of(many), HasSubstr("more than 10000"));
}

TEST(SweepExpansion, NamesAreFileNames) {
  EXPECT_THAT(names_of("name = \"a/{b}\"\n[grid]\na.b = [\"../x y\", \"z\"]\n"), ElementsAre("a-..-x-y", "a-z"));
}

TEST(SuccessiveHalving, KeepsTheBestShare) {
  EXPECT_THAT(survivors({0.1, 0.5, 0.3, 0.4}, 0.5), ElementsAre(1, 3));
  EXPECT_THAT(survivors({0.1, 0.5, 0.3}, 0.5), ElementsAre(1, 2));
  EXPECT_THAT(survivors({0.2, 0.2, 0.2, 0.2}, 0.5), ElementsAre(0, 1));
  EXPECT_THAT(survivors({std::nan(""), 0.1, std::nan(""), std::nan("")}, 0.75), ElementsAre(1));
  EXPECT_THAT(survivors({0.3, 0.2}, 0.01), ElementsAre(0));
  EXPECT_THAT(survivors({}, 0.5), ElementsAre());
}

class StatusTest : public testing::Test {
 protected:
  void attempt(int number, const std::string& exit) {
    const std::filesystem::path log = folder_ / "log";
    const std::filesystem::path here = log / ("attempt-" + std::to_string(number));
    std::filesystem::create_directories(here);
    std::ofstream(here / "start") << "host=nowhere\npid=1\njob=17\n";
    if (!exit.empty()) std::ofstream(here / "exit") << exit;
  }
  RunStatus status(Alive alive = Alive::kGone) {
    return run_status(folder_.path(), [&](const AttemptStart& start) {
      job_ = start.job;
      return alive;
    });
  }
  TempFolder folder_;
  std::string job_;
};

TEST_F(StatusTest, FollowsARunFromBeginningToEnd) {
  EXPECT_EQ(status().state, PointState::kWaiting);
  EXPECT_EQ(status(Alive::kQueued).state, PointState::kQueued);
  attempt(1, "");
  EXPECT_EQ(status(Alive::kRunning).state, PointState::kRunning);
  EXPECT_EQ(job_, "17");
  EXPECT_EQ(status().state, PointState::kFailed);
  EXPECT_THAT(status().reason, HasSubstr("killed"));
  attempt(1, "75\n");
  EXPECT_EQ(status().state, PointState::kStopped);
  EXPECT_EQ(status(Alive::kQueued).state, PointState::kQueued);
  attempt(2, "2\nerror: no such key\n");
  EXPECT_EQ(status().state, PointState::kFailed);
  EXPECT_EQ(status().reason, "error: no such key");
  EXPECT_EQ(status().attempts, 2);
  EXPECT_TRUE(std::isnan(status().best));
  attempt(3, "137\n");
  EXPECT_EQ(status().reason, "exit code 137");
  folder_.write("log/dropped", "step 4: poor\n");
  EXPECT_EQ(status().state, PointState::kDropped);
  EXPECT_EQ(status().reason, "step 4: poor");
  folder_.write("log/done", "");
  EXPECT_EQ(status().state, PointState::kDone);
}

TEST_F(StatusTest, DamagedMetricsAreAReason) {
  attempt(1, "");
  folder_.write("run.h5", "no HDF5");
  EXPECT_EQ(status(Alive::kRunning).state, PointState::kRunning);
  EXPECT_THAT(status(Alive::kRunning).reason, HasSubstr("run.h5"));
}

}  // namespace
}  // namespace deepsearch
