// The C++ half of tests/oracle/train_oracle.py, which runs this case with its folder in the environment; without it, it
// is skipped. Each case is a folder with
//
//   model/      where training starts, in the Hugging Face layout
//   learn.toml  [learn], as in a run's configuration
//   steps.json  [steps][minibatches][rows] of {"tokens": […], "n_prompt": n, "advantages": […], "behaviour": […]}
//
// and gets trained/, the model after all steps, and stats.json, a list with an object a step. It trains on any rows in
// this form, so it also serves to repeat an update that looks wrong outside of a run.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/config.h"
#include "core/files.h"
#include "learn/solo.h"
#include "learn/trainer.h"

namespace deepsearch {
namespace {

using nlohmann::json;

Row row_of(const json& object) {
  Row row;
  row.tokens = object.at("tokens").get<std::vector<Token>>();
  row.n_prompt = object.at("n_prompt").get<int64_t>();
  row.advantages = object.at("advantages").get<std::vector<float>>();
  row.behaviour = object.at("behaviour").get<std::vector<float>>();
  return row;
}

json stats_of(const TrainStats& stats) {
  return {{"loss", stats.loss},
          {"grad_norm", stats.grad_norm},
          {"policy_entropy", stats.policy_entropy},
          {"updates", stats.updates},
          {"skipped_updates", stats.skipped_updates},
          {"trained_tokens", stats.trained_tokens}};
}

void run_case(const std::filesystem::path& folder) {
  LearnParams params;
  load_config((folder / "learn.toml").string(), {}, [&](ConfigVisitor& v) {
    v.table({.key = "learn", .meaning = "of the case"}, [&](ConfigVisitor& table) { params.describe(table); });
  });
  std::vector<std::vector<std::vector<Row>>> steps;
  int64_t updates = 0;
  std::ifstream file(folder / "steps.json");
  for (const json& step : json::parse(file)) {
    steps.emplace_back();
    for (const json& minibatch : step) {
      steps.back().emplace_back();
      for (const json& row : minibatch) steps.back().back().push_back(row_of(row));
      updates += params.epochs;
    }
  }
  SoloCollectives solo;
  Trainer trainer(load_model(folder / "model"), params, solo, updates);
  json stats = json::array();
  for (const auto& minibatches : steps) stats.push_back(stats_of(trainer.train(minibatches, {})));
  create_folders(folder / "trained");
  save_model(folder / "trained", trainer.weights(), "");
  write_file_atomically(folder / "stats.json", stats.dump());
}

TEST(TrainOracle, TrainsOnTheGivenRows) {
  const char* source = std::getenv("DEEPSEARCH_TRAIN_ORACLE");
  if (source == nullptr) GTEST_SKIP() << "run by tests/oracle/train_oracle.py";
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source)) {
    run_case(entry.path());
    ++cases;
  }
  EXPECT_GT(cases, 0);
}

}  // namespace
}  // namespace deepsearch
