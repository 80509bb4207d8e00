// configs/ablations: every file loads, and differs from base.toml in exactly the keys that it is about.
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "core/error.h"
#include "run/config.h"

namespace deepsearch {
namespace {

using Values = std::map<std::string, std::string>;

std::filesystem::path folder() {
  return std::filesystem::path(DEEPSEARCH_SOURCE_DIR) / "configs" / "ablations";
}

// Every key of the resolved configuration: "search.width" → "4".
Values resolved_values(const std::string& file) {
  std::istringstream text(config_text(read_config((folder() / file).string(), {})));
  Values values;
  std::string table;
  for (std::string line; std::getline(text, line);) {
    const size_t equals = line.find(" = ");
    if (line.starts_with('[')) table = line.substr(1, line.find(']') - 1);
    if (equals != std::string::npos) values[table + "." + line.substr(0, equals)] = line.substr(equals + 3);
  }
  return values;
}

Values changes(const std::string& file) {
  const Values base = resolved_values("base.toml");
  Values changed;
  for (const auto& [key, value] : resolved_values(file)) {
    if (base.at(key) != value) changed[key] = value;
  }
  return changed;
}

Values joined(Values first, const Values& second) {
  first.insert(second.begin(), second.end());
  return first;
}

const Values kRollouts = {{"search.when", "\"never\""}, {"learn.credit", "\"outcome\""}};
const Values kSymmetric = {{"learn.clip_high", "0.2"}, {"learn.dual_clip", "0.0"}};
const Values kDynamic = {{"learn.skip_uniform", "true"}, {"learn.refill_waves", "4"}};
const Values kDapo =
    joined(joined(kRollouts, kDynamic), {{"learn.advantage_norm", "\"mean_std\""}, {"learn.overlong", "\"filter\""}});
const Values kEdge = joined(kDynamic, {{"learn.credit", "\"edge\""},
                                       {"learn.terminals", "\"all\""},
                                       {"learn.advantage_norm", "\"mean_std\""},
                                       {"learn.skip_dead", "true"}});

const std::map<std::string, Values> kExpected = {
    {"base.toml", {}},
    {"ladder-1-vanilla.toml",
     {{"search.order", "\"uct\""},
      {"search.backup", "\"simple\""},
      {"learn.credit", "\"outcome\""},
      {"learn.advantage_norm", "\"none\""}}},
    {"ladder-2-constrained-backup.toml",
     {{"search.order", "\"uct\""}, {"learn.credit", "\"outcome\""}, {"learn.advantage_norm", "\"none\""}}},
    {"ladder-3-node-scores.toml", {{"search.order", "\"uct\""}, {"learn.advantage_norm", "\"none\""}}},
    {"ladder-4-mean-and-std.toml", {{"search.order", "\"uct\""}, {"learn.advantage_norm", "\"mean_std\""}}},
    {"ladder-5-mean-only.toml", {{"search.order", "\"uct\""}}},
    {"ladder-6-frontier.toml", {}},
    {"negative-random.toml", {{"search.negative_selection", "\"random\""}}},
    {"negative-least-confident.toml", {{"search.negative_selection", "\"least_confident\""}}},
    {"grpo.toml", joined(joined(kRollouts, kSymmetric), {{"learn.advantage_norm", "\"mean_std\""},
                                                         {"learn.loss_aggregation", "\"seq_mean_token_mean\""},
                                                         {"learn.kl_coef", "0.04"}})},
    {"dr-grpo.toml",
     joined(joined(kRollouts, kSymmetric), {{"learn.loss_aggregation", "\"seq_mean_token_sum_norm\""}})},
    {"ppo.toml", joined(joined(kRollouts, kSymmetric), {{"learn.advantage_norm", "\"none\""}})},
    {"dapo.toml", kDapo},
    {"dapo-kl.toml", joined(kDapo, {{"learn.kl_coef", "0.001"}})},
    {"credit-edge.toml", joined(kEdge, {{"learn.merge_identical", "true"}})},
    {"credit-edge-rollouts.toml", joined(kEdge, {{"search.when", "\"never\""}, {"learn.merge_prefixes", "true"}})},
};

TEST(Ablations, EveryFileChangesExactlyItsKeys) {
  for (const auto& [file, expected] : kExpected) {
    SCOPED_TRACE(file);
    EXPECT_EQ(expected, changes(file));
  }
}

TEST(Ablations, EveryFileIsCheckedAndInTheReadme) {
  std::ifstream readme(folder() / "README.md");
  std::ostringstream content;
  content << readme.rdbuf();
  const std::string text = content.str();
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    const std::string name = entry.path().filename().string();
    if (name == "README.md") continue;
    EXPECT_TRUE(kExpected.contains(name)) << name;
    EXPECT_NE(std::string::npos, text.find('`' + name + '`')) << name;
  }
}

// The base is the paper's algorithm: nothing of it differs from the defaults but what makes it small, and the task's.
TEST(Ablations, TheBaseIsThePublishedAlgorithm) {
  const Config config = read_config((folder() / "base.toml").string(), {});
  EXPECT_EQ(Credit::kNode, config.credit.credit);
  EXPECT_EQ(AdvantageNorm::kMean, config.credit.advantage_norm);
  EXPECT_EQ(Order::kFrontier, config.search.order);
  EXPECT_EQ(Backup::kConstrained, config.search.backup);
  EXPECT_EQ(When::kAlways, config.search.when);
  EXPECT_FALSE(config.search.stop_when_solved || config.search.distinct_children || config.credit.skip_uniform);
  EXPECT_EQ(LossAggregation::kTokenMean, config.learn.loss_aggregation);
  EXPECT_EQ(0, config.learn.kl_coef + config.learn.entropy_coef);
  EXPECT_DOUBLE_EQ(0.28, config.learn.clip_high);
}

// One clear line for keys that contradict each other; every shipped file loads.
TEST(Ablations, ContradictionsAreRefused) {
  const auto refusal = [](const std::vector<std::string>& overrides) {
    try {
      read_config((folder() / "base.toml").string(), overrides);
    } catch (const Error& error) {
      EXPECT_EQ(2, error.exit_code());
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(std::string::npos, refusal({"learn.importance=truncate"}).find("behaviour = \"recomputed\""));
  EXPECT_EQ("", refusal({"learn.importance=mask", "learn.behaviour=recomputed"}));
  EXPECT_NE(std::string::npos, refusal({"learn.dual_clip=0.5"}).find("dual_clip is 0.5"));
  EXPECT_NE(std::string::npos, refusal({"learn.refill_waves=2"}).find("skip_uniform = true"));
  EXPECT_NE(std::string::npos, refusal({"learn.skip_dead=true"}).find("skip_dead"));
  EXPECT_NE(std::string::npos, refusal({"learn.merge_prefixes=true"}).find("merge_prefixes"));
  EXPECT_NE(std::string::npos, refusal({"learn.overlong=penalty"}).find("overlong_buffer is 4096"));
  EXPECT_EQ("", refusal({"learn.overlong=penalty", "learn.overlong_buffer=10"}));
  EXPECT_EQ("", refusal({"learn.overlong=filter", "learn.kl_estimator=k2"}));
  for (const char* shipped : {"bag.toml", "chain.toml", "countdown.toml", "quickstart.toml", "quickstart-ahead.toml",
                              "deepsearch-1.5b.toml", "eval/paper.toml"}) {
    EXPECT_NO_THROW(read_config((folder().parent_path() / shipped).string(), {})) << shipped;
  }
}

}  // namespace
}  // namespace deepsearch
