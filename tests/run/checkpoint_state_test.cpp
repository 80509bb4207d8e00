// run.json, trees.bin and the optimiser's parts of a checkpoint: written, read back, damaged.
#include "run/checkpoint_state.h"

#include <numeric>

#include <gmock/gmock.h>

#include "core/error.h"
#include "core/files.h"
#include "core/temp_folder.h"
#include "learn/gradient_buckets.h"
#include "run/checkpoint_optimizer.h"
#include "run/finished_trees.h"
#include "store/random_tree.h"

namespace deepsearch {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

template <class Work>
std::string error_text(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput) << error.what();
    return error.what();
  }
  return "";
}

RunState some_state() {
  RunState state{.step = 12, .next_problem = 3'000'000'000, .evaluated_step = 10, .tokens_generated = 1LL << 50};
  state.evaluations = {{.problems = 3, .pass_at_1 = 0.1, .pass_at_k = 1.0 / 3}, {.k = 4, .entropy_mean = 5e-324}};
  state.elapsed = 0.1 + 0.2;
  state.config_text = "[run]\nseed = 1\n# \"quoted\" é\n";
  state.start_digest = ~0ULL;
  return state;
}

TEST(RunStateJson, ReadsBackExactly) {
  const RunState state = some_state();
  const RunState back = run_state_from_json(run_state_to_json(state), "run.json");
  EXPECT_EQ(run_state_to_json(back), run_state_to_json(state));
  EXPECT_EQ(back.elapsed, state.elapsed);
  EXPECT_EQ(back.evaluations[1].entropy_mean, 5e-324);
  EXPECT_EQ(back.config_text, state.config_text);
  EXPECT_EQ(back.start_digest, state.start_digest);
}

TEST(RunStateJson, EveryTruncationIsOneLine) {
  const std::string text = run_state_to_json(some_state());
  for (size_t size = 0; size + 2 < text.size(); ++size) {
    EXPECT_THAT(error_text([&] { run_state_from_json(text.substr(0, size), "run.json"); }), HasSubstr("run.json"));
  }
}

TEST(RunStateJson, ValuesThatCannotBeAreRefused) {
  const auto changed = [](const std::string& from, const std::string& to) {
    std::string text = run_state_to_json(some_state());
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    return error_text([&] { run_state_from_json(text, "run.json"); });
  };
  EXPECT_THAT(changed("\"step\": 12", "\"step\": -12"), HasSubstr("run.json"));
  EXPECT_THAT(changed("\"step\": 12", "\"step\": 1e99"), HasSubstr("step"));
  EXPECT_THAT(changed("\"step\": 12", "\"step\": 9"), HasSubstr("evaluated"));
  EXPECT_THAT(changed("\"version\": 1", "\"version\": 2"), HasSubstr("version"));
  EXPECT_THAT(changed("ffffffffffffffff", "fffffffffffffffg"), HasSubstr("start_digest"));
}

TEST(FinishedTreesFile, ReadsBackAndNamesDamage) {
  const TempFolder temp;
  const fs::path path = temp.path() / "trees.bin";
  std::vector<TreeRecord> trees(3);
  RandomStream rng(1, RngPurpose::kTests, 1);
  for (TreeRecord& tree : trees) tree = store_test::random_tree(rng, 20);
  write_trees(path, trees);
  const std::vector<TreeRecord> back = read_trees(path);
  ASSERT_EQ(back.size(), trees.size());
  write_trees(temp.path() / "again.bin", back);
  const std::string bytes = read_file(path, 1 << 30);
  EXPECT_EQ(read_file(temp.path() / "again.bin", 1 << 30), bytes);
  for (size_t size = 1; size < bytes.size(); size += 1 + size / 7) {
    const std::string cut = bytes.substr(0, size);
    write_file_atomically(path, cut);
    const std::string text = error_text([&] { read_trees(path); });
    if (text.empty()) continue;  // cut between two trees
    EXPECT_THAT(text, HasSubstr("trees.bin"));
  }
  for (size_t at = 0; at < bytes.size(); at += 1 + at / 5) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x40);
    write_file_atomically(path, flipped);
    EXPECT_THAT(error_text([&] { read_trees(path); }), HasSubstr("trees.bin")) << at;
  }
}

// Parameters of these sizes cut for `ranks`; value i of the model's parameters is i in master, -i in mean, 2i else.
class OptimizerParts : public ::testing::Test {
 protected:
  OptimizerState layout(int ranks, int rank, int64_t bucket_values) const {
    const GradientBuckets buckets(sizes_, {{0, 2}, {2, 3}, {3, 5}}, bucket_values, ranks);
    OptimizerState state;
    state.updates = 17;
    state.skipped_in_a_row = 2;
    state.rank = rank;
    state.ranks = ranks;
    state.parameters = sizes_;
    for (size_t p = 0; p < sizes_.size(); ++p) state.offsets.push_back(buckets.offset(p));
    for (const auto& bucket : buckets.buckets()) state.buckets.push_back(bucket.size);
    return state;
  }

  OptimizerState filled(int ranks, int rank, int64_t bucket_values) const {
    OptimizerState state = layout(ranks, rank, bucket_values);
    const GradientBuckets buckets(sizes_, {{0, 2}, {2, 3}, {3, 5}}, bucket_values, ranks);
    std::vector<float> flat(static_cast<size_t>(buckets.total()));
    float value = 1;
    for (size_t p = 0; p < sizes_.size(); ++p) {
      for (int64_t i = 0; i < sizes_[p]; ++i) flat[static_cast<size_t>(buckets.offset(p) + i)] = value++;
    }
    for (size_t b = 0; b < buckets.buckets().size(); ++b) {
      for (int64_t i = 0; i < buckets.part_size(b); ++i) {
        const float v = flat[static_cast<size_t>(buckets.part_begin(b, rank) + i)];
        state.master.push_back(v);
        state.mean.push_back(-v);
        state.variance.push_back(2 * v);
      }
    }
    return state;
  }

  void write(int ranks, int64_t bucket_values) {
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "resume");
    for (int rank = 0; rank < ranks; ++rank) write_optimizer_state(folder_, filled(ranks, rank, bucket_values));
  }

  TempFolder temp_;
  fs::path folder_ = temp_.path() / "step-000001";
  std::vector<int64_t> sizes_ = {7, 64, 300, 33, 1};
};

TEST_F(OptimizerParts, AnyNumberOfRanksReadsWhatAnyNumberWrote) {
  for (const auto& [from, from_bucket] : {std::pair{1, 100}, {2, 100}, {3, 10000}, {5, 64}}) {
    write(from, from_bucket);
    EXPECT_EQ(optimizer_parts(folder_), from);
    for (const auto& [to, to_bucket] : {std::pair{1, 10000}, {2, 100}, {4, 96}}) {
      for (int rank = 0; rank < to; ++rank) {
        const OptimizerState back = read_optimizer_state(folder_, layout(to, rank, to_bucket));
        const OptimizerState expected = filled(to, rank, to_bucket);
        EXPECT_EQ(back.master, expected.master) << from << " to " << to;
        EXPECT_EQ(back.mean, expected.mean);
        EXPECT_EQ(back.variance, expected.variance);
        EXPECT_EQ(back.updates, 17);
        EXPECT_EQ(back.skipped_in_a_row, 2);
      }
    }
  }
}

TEST_F(OptimizerParts, DamageIsOneLineThatNamesTheFile) {
  const auto refused = [&] { return error_text([&] { read_optimizer_state(folder_, layout(1, 0, 100)); }); };
  const fs::path json = folder_ / "resume" / "learner-01-of-02.json";
  write(2, 100);
  const std::string good = read_file(json, 1 << 20);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    write_file_atomically(json, text);
    return refused();
  };
  EXPECT_THAT(with("\"part\": 1", "\"part\": 0"), HasSubstr("learner-01-of-02.json"));
  EXPECT_THAT(with("\"parts\": 2", "\"parts\": 0"), HasSubstr("learner-01-of-02.json"));
  EXPECT_THAT(with("\"updates\": 17", "\"updates\": 18"), HasSubstr("does not belong"));
  EXPECT_THAT(with("300", "9223372036854775807"), HasSubstr("learner-01-of-02.json"));
  EXPECT_THAT(with("300", "-300"), HasSubstr("learner-01-of-02.json"));
  EXPECT_THAT(with("\"buckets\": [", "\"buckets\": [281474976710656, "), HasSubstr("learner-01-of-02.json"));
  write(2, 100);
  fs::resize_file(folder_ / "resume" / "learner-01-of-02.safetensors", 200);
  EXPECT_THAT(refused(), HasSubstr("learner-01-of-02.safetensors"));
  write(2, 100);
  fs::remove(json);
  EXPECT_THAT(refused(), HasSubstr("1 of 2 parts"));
  write(2, 100);
  sizes_[0] = 8;
  EXPECT_THAT(refused(), HasSubstr("other sizes"));
}

// Of step 3, with one leaf.
TreeRecord record(int64_t place, RecordKind kind, Outcome outcome) {
  TreeRecord tree;
  tree.key = {.step = 3, .problem_index = place};
  tree.kind = kind;
  tree.nodes.resize(2);
  tree.nodes[1].terminal = true;
  tree.nodes[1].outcome = outcome;
  tree.recorded.push_back({.leaf = 1, .outcome = outcome});
  return tree;
}

TEST(FinishedTrees, AreTakenOnceAndHandOverGoesOnWithTheTree) {
  using Work = AssignMessage::Work;
  FinishedTrees finished(
      {record(0, RecordKind::kRollouts, Outcome::kCorrect), record(1, RecordKind::kRollouts, Outcome::kWrong),
       record(2, RecordKind::kRollouts, Outcome::kWrong), record(2, RecordKind::kTree, Outcome::kWrong),
       record(9, RecordKind::kTree, Outcome::kWrong)});
  std::vector<AssignMessage::Item> items(4);
  for (size_t i = 0; i < items.size(); ++i) {
    items[i].key = {.step = 3, .problem_index = static_cast<int64_t>(i)};
    items[i].work = Work::kHandOver;
  }
  EXPECT_EQ(finished.take(items, /*branches=*/false).size(), 4U);
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[0].key.problem_index, 1);
  EXPECT_EQ(items[0].work, Work::kTree);
  EXPECT_EQ(items[1].key.problem_index, 3);
  EXPECT_EQ(items[1].work, Work::kHandOver);
  EXPECT_EQ(finished.rest().size(), 1U);
  EXPECT_TRUE(finished.take(items, /*branches=*/false).empty());
}

TEST(FinishedTrees, ATreeWithoutTheRolloutsThatBranchFromItIsGrownAgain) {
  using Work = AssignMessage::Work;
  FinishedTrees finished(
      {record(0, RecordKind::kRollouts, Outcome::kWrong), record(0, RecordKind::kTree, Outcome::kCorrect),
       record(1, RecordKind::kTree, Outcome::kCorrect), record(1, RecordKind::kBranch, Outcome::kCorrect),
       record(2, RecordKind::kTree, Outcome::kWrong)});
  std::vector<AssignMessage::Item> items(3);
  for (size_t i = 0; i < items.size(); ++i) {
    items[i].key = {.step = 3, .problem_index = static_cast<int64_t>(i)};
    items[i].work = Work::kHandOver;
  }
  EXPECT_EQ(finished.take(items, /*branches=*/true).size(), 4U);
  ASSERT_EQ(items.size(), 1U);
  EXPECT_EQ(items[0].key.problem_index, 0);
  EXPECT_EQ(items[0].work, Work::kTree);
}

}  // namespace
}  // namespace deepsearch
