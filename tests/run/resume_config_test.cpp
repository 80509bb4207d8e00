#include "run/resume_config.h"

#include <algorithm>
#include <map>
#include <utility>

#include <gmock/gmock.h>

#include "core/error.h"
#include "run/time_budget.h"

namespace deepsearch {
namespace {

using ::testing::HasSubstr;

Config with(const std::vector<std::string>& overrides) {
  return read_config("", overrides);
}

std::string refusal(const std::vector<std::string>& overrides, int64_t steps_done = 10,
                    const std::vector<std::string>& before = {}) {
  try {
    check_resumable(with(before), with(overrides), steps_done);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    return error.what();
  }
  return "";
}

TEST(ResumeConfig, NamesWhatMayNotChange) {
  EXPECT_EQ(refusal({}), "");
  EXPECT_THAT(refusal({"search.width=5"}), HasSubstr("search.width was 8 and is now 5"));
  EXPECT_THAT(refusal({"learn.optimizer.lr=0.5"}), HasSubstr("learn.optimizer.lr"));
  EXPECT_THAT(refusal({"engine.stop=[\"x\"]"}), HasSubstr("engine.stop was [] and is now [\"x\"]"));
  EXPECT_THAT(refusal({"run.log_level=debug", "run.seed=3"}), HasSubstr("run.seed was 1 and is now 3"));
}

TEST(ResumeConfig, LetsGoWhatDoesNotMatter) {
  const auto allowed = check_resumable(
      with({}), with({"run.log_level=debug", "ranks.learners=2", "learn.threads=3", "store.flush_seconds=1.0"}), 10);
  ASSERT_EQ(allowed.size(), 4U);
  EXPECT_EQ(allowed[0].key, "run.log_level");
  EXPECT_EQ(allowed[0].before, "\"info\"");
  EXPECT_EQ(allowed[0].after, "\"debug\"");
}

// What each key decides stands where it is described; a sample of each kind.
TEST(ResumeConfig, KeysDecideTheResultsThatUseThem) {
  const std::map<std::string, std::pair<std::string, Results>> wanted = {
      {"run.seed", {"7", kAllResults}},
      {"run.stop_after", {"7", kNoResult}},
      {"task.sizes", {"[7]", kAllResults}},
      {"problems.test_file", {"x", kAllResults}},
      {"problems.conflicts", {"keep", kTrainingResult | kFilterResult}},
      {"model.path", {"x", kTrainingResult | kFilterResult}},  // evaluations compare its contents
      {"model.hidden_size", {"32", kAllResults}},
      {"engine.kv_memory_mb", {"7", kNoResult}},
      {"search.width", {"7", kAllResults}},
      {"learn.problems", {"128", kTrainingResult}},
      {"learn.epsilon_q", {"0.5", kTrainingResult}},  // CreditParams'
      {"learn.optimizer.lr", {"0.5", kTrainingResult}},
      {"learn.threads", {"7", kNoResult}},
      {"rounds.filter_samples", {"7", kTrainingResult | kFilterResult}},
      {"sft.steps", {"7", kNoResult}},
      {"eval.samples", {"7", kTrainingResult}},
      {"eval.stop_at", {"0.5", kNoResult}},
      {"evaluate.samples", {"64", kEvaluationResult}},
      {"evaluate.ks", {"[2]", kNoResult}},
      {"ranks.learners", {"7", kNoResult}},
      {"store.level", {"recorded", kNoResult}},
  };
  for (const auto& [key, change] : wanted) {
    const std::vector<ChangedKey> changed = changed_keys(with({}), with({key + "=" + change.first}));
    const auto found = std::find_if(changed.begin(), changed.end(), [&](const ChangedKey& c) { return c.key == key; });
    ASSERT_NE(found, changed.end()) << key;
    EXPECT_EQ(found->decides, change.second) << key;
    EXPECT_EQ(found->decides_any(kTrainingResult), (change.second & kTrainingResult) != 0) << key;
  }
}

TEST(ReadConfig, SamplingAsksNothingOfWhatOnlyTrainingUses) {
  for (const std::vector<std::string>& keys :
       std::vector<std::vector<std::string>>{{"search.when=always", "search.hand_over_gain=2"},
                                             {"search.when=always", "learn.rescue=group"},
                                             {"learn.overlong=penalty", "learn.overlong_buffer=100000"},
                                             {"rounds.count=3", "learn.steps=100"}}) {
    EXPECT_THROW(read_config("", keys), Error) << keys[1];
    const Config config = read_config("", keys, ReadFor::kSampling);
    const std::string text = config_text(config);
    EXPECT_EQ(config_text(read_config_text(text, "t", {}, ReadFor::kSampling)), text);  // as --resume reads it
  }
}

TEST(ResumeConfig, StepsMayGrowUnderAConstantRate) {
  EXPECT_EQ(refusal({"learn.steps=500"}), "");
  EXPECT_EQ(refusal({"learn.steps=10"}), "");
  EXPECT_THAT(refusal({"learn.steps=9"}), HasSubstr("10 steps are done"));
  const std::string cosine = "learn.optimizer.schedule=cosine";
  EXPECT_THAT(refusal({"learn.steps=500", cosine}, 10, {cosine}), HasSubstr("learn.steps was 50 and is now 500"));
}

TEST(TimeBudget, DurationsAreReadAsSlurmWritesThem) {
  EXPECT_EQ(parse_duration("90", "key"), 90);
  EXPECT_EQ(parse_duration("90:00", "key"), 5400);
  EXPECT_EQ(parse_duration("01:30:00", "key"), 5400);
  EXPECT_EQ(parse_duration("1-06:00:00", "key"), 108000);
  for (const char* wrong :
       {"", "0", "soon", "-5", "1:2:3:4", "1-5", "5 s", "1e3", "00:00:00", "99999999999999999999"}) {
    EXPECT_THROW(parse_duration(wrong, "key"), Error) << wrong;
  }
}

TEST(TimeBudget, AnAbsurdEndOfTheSlurmJobIsAWarning) {
  constexpr int64_t kNow = 1'800'000'000;
  const auto left = [](const char* text) { return slurm_time_left(text, kNow); };
  EXPECT_EQ(left("1800003600").seconds, 3600);
  EXPECT_EQ(left("1800003600").warning, "");
  EXPECT_EQ(left("1831622400").seconds, 366.0 * 86400);  // no limit is a year to Slurm
  for (const char* none : {static_cast<const char*>(nullptr), "0"}) {
    EXPECT_EQ(left(none).seconds, 0);
    EXPECT_EQ(left(none).warning, "");
  }
  for (const auto& [text, why] : std::map<std::string, std::string>{{"1799992800", "2 h 00 min ago"},
                                                                    {"1800000000", "ago by this host's clock"},
                                                                    {"-9223372036854775808", "ago"},
                                                                    {"1900000000", "more than 732 days ahead"},
                                                                    {"9223372036854775807", "ahead"},
                                                                    {"99999999999999999999", "not seconds since 1970"},
                                                                    {"", "not seconds"},
                                                                    {"1800003600x", "not seconds"},
                                                                    {"Unknown", "not seconds"}}) {
    const SlurmTime time = left(text.c_str());
    EXPECT_EQ(time.seconds, 0) << text;
    EXPECT_NE(time.warning.find("SLURM_JOB_END_TIME is \"" + text + "\""), std::string::npos) << time.warning;
    EXPECT_NE(time.warning.find(why), std::string::npos) << time.warning;
  }
}

TEST(TimeBudget, LeavesTimeForACheckpointAndTheWorkBefore) {
  TimeBudget budget(/*start=*/100, /*limit=*/1000, /*checkpoint_seconds=*/0);
  EXPECT_FALSE(budget.over(1069));
  EXPECT_TRUE(budget.over(1071));  // 30 s are left for the end
  EXPECT_TRUE(budget.over(1000, 71));
  EXPECT_FALSE(budget.over(1000, 69));
  budget.took_checkpoint(100);
  EXPECT_FALSE(budget.over(869));
  EXPECT_TRUE(budget.over(871));
  EXPECT_FALSE(TimeBudget(0, 0, 100).over(1e9));
  EXPECT_FALSE(TimeBudget(0, 10, 0).over(9.4));
  EXPECT_TRUE(TimeBudget(0, 10, 0).over(9.6));
}

}  // namespace
}  // namespace deepsearch
