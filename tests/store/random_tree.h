// Random but consistent records for the store's tests, a fresh folder for each test, and a forked child with a time
// limit.
#pragma once

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/rng.h"
#include "core/sanitizers.h"
#include "data/tree_record.h"
#include "store/run_info.h"

namespace deepsearch::store_test {

inline std::string random_text(RandomStream& rng, uint64_t max_length) {
  static const std::vector<std::string> pieces = {"a", "7", " ", "\n", "\\frac", "√", "é", "漢", "\"", "🙂"};
  std::string text;
  const uint64_t pieces_wanted = rng.below(max_length + 1);
  for (uint64_t i = 0; i < pieces_wanted; ++i) text += pieces[rng.below(pieces.size())];
  return text;
}

// Ordinary numbers and those that formats get wrong.
inline double random_number(RandomStream& rng) {
  switch (rng.below(12)) {
    case 0:
      return std::numeric_limits<double>::infinity();
    case 1:
      return -std::numeric_limits<double>::infinity();
    case 2:
      return std::numeric_limits<double>::quiet_NaN();
    case 3:
      return -0.0;
    case 4:
      return std::numeric_limits<double>::denorm_min();
    default:
      return rng.normal();
  }
}

inline Problem random_problem(RandomStream& rng) {
  Problem problem;
  problem.id = random_text(rng, 40);
  problem.source = random_text(rng, 12);
  problem.prompt = random_text(rng, 400);
  problem.answer = random_text(rng, 30);
  problem.prompt_tokens.resize(rng.below(300));
  for (Token& token : problem.prompt_tokens) token = static_cast<Token>(rng.next_u32());
  problem.key = rng.next_u64();
  return problem;
}

inline Outcome random_outcome(RandomStream& rng) {
  static const std::vector<Outcome> all = {Outcome::kCorrect, Outcome::kWrong, Outcome::kIncomplete, Outcome::kNone};
  return all[rng.below(all.size())];
}

inline TreeRecord random_tree(RandomStream& rng, uint64_t max_nodes, uint64_t max_step_tokens = 6) {
  TreeRecord tree;
  tree.kind = static_cast<RecordKind>(rng.below(2));
  tree.key = {rng.between(-3, 1000), rng.between(0, 1 << 20), rng.between(0, 300), rng.next_u64(), rng.between(0, 9)};
  tree.problem = random_problem(rng);
  tree.policy_version = rng.between(0, 1000);
  tree.stop_reason = static_cast<StopReason>(rng.below(6));
  tree.iterations = static_cast<int32_t>(rng.below(1000));
  tree.tokens_generated = static_cast<int64_t>(rng.below(1 << 30));
  tree.tokens_prefilled = static_cast<int64_t>(rng.next_u64() >> 1);
  tree.seconds = random_number(rng);
  tree.seconds_generating = random_number(rng);
  tree.made_by_rank = static_cast<int32_t>(rng.below(64));
  const uint64_t n_nodes = 1 + rng.below(max_nodes);
  for (uint64_t id = 0; id < n_nodes; ++id) {
    NodeRecord node;
    node.parent = id == 0 ? -1 : static_cast<int32_t>(rng.below(id));
    node.depth = id == 0 ? 0 : tree.nodes[static_cast<size_t>(node.parent)].depth + 1;
    node.first_token = static_cast<int32_t>(tree.tokens.size());
    node.n_tokens = id == 0 ? 0 : static_cast<int32_t>(rng.below(max_step_tokens + 1));
    for (int32_t i = 0; i < node.n_tokens; ++i) {
      tree.tokens.push_back(static_cast<Token>(rng.below(150000)));
      tree.logprobs.push_back(static_cast<float>(random_number(rng)));
      tree.token_versions.push_back(static_cast<int32_t>(tree.tokens.size() % 7));
      tree.entropies.push_back(static_cast<float>(random_number(rng)));
    }
    node.visits = static_cast<int32_t>(rng.below(100));
    node.value = random_number(rng);
    node.entropy = random_number(rng);
    node.logprob = random_number(rng);
    node.terminal = rng.below(2) == 1;
    node.outcome = random_outcome(rng);
    node.created = static_cast<int32_t>(rng.below(1000));
    node.expanded = static_cast<int32_t>(rng.between(-1, 1000));
    node.made_by_rank = static_cast<int32_t>(rng.below(64));
    tree.nodes.push_back(node);
  }
  tree.recorded.resize(rng.below(9));
  for (RecordedLeaf& leaf : tree.recorded) {
    leaf = {static_cast<int32_t>(rng.below(n_nodes)), random_number(rng), random_number(rng), random_outcome(rng),
            rng.below(2) == 1};
  }
  tree.events.resize(rng.below(30));
  for (SearchEvent& event : tree.events) {
    event = {static_cast<int32_t>(rng.below(1000)), static_cast<EventKind>(rng.below(9)),
             static_cast<int32_t>(rng.between(-1, static_cast<int64_t>(n_nodes) - 1)), random_number(rng)};
  }
  return tree;
}

// An archive in cereal's manner that turns every field into exact text, NaNs and signed zeros included: comparing two
// records by it covers each field that travels, also ones added later.
class Dump {
 public:
  template <class... Values>
  void operator()(const Values&... values) {
    (put(values), ...);
  }
  std::string text() const { return out_.str(); }

 private:
  template <class T>
  void put(const T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      out_ << value.size() << ':' << value << ' ';
    } else if constexpr (std::is_enum_v<T>) {
      out_ << static_cast<int64_t>(value) << ' ';
    } else if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(value)) {
        out_ << "nan ";
      } else {
        out_ << std::hexfloat << value << ' ';
      }
    } else if constexpr (std::is_arithmetic_v<T>) {
      out_ << value << ' ';
    } else {
      put_object(value);
    }
  }
  template <class T>
  void put(const std::vector<T>& values) {
    out_ << '[' << values.size() << ' ';
    for (const T& value : values) put(value);
    out_ << "] ";
  }
  template <class T>
  void put_object(const T& value) {
    out_ << '{';
    const_cast<T&>(value).serialize(*this);  // serialize() is one function for both directions, hence not const
    out_ << "} ";
  }
  std::ostringstream out_;
};

inline std::string dump(const TreeRecord& tree) {
  Dump archive;
  archive(tree);
  return archive.text();
}

inline RunInfo some_info() {
  RunInfo info;
  info.config_text = "[search]\nwidth = 8 # ünicode\n";
  info.seed = 0xFFFFFFFFFFFFFFF1ULL;
  info.revision = "abc123-dirty";
  info.rank_layout = "2 search, 1 learner";
  info.hosts = {"node1", "node1", "node2"};
  info.roles = {"search", "search", "learner"};
  info.command_line = "deepsearch train --config x.toml";
  info.job_id = "";
  return info;
}

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              fmt::format("deepsearch_store_{}_{}_{}", getpid(), test->test_suite_name(), test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "parts");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

// Runs `work` in a child; its return value is the child's exit status. `memory_bytes` > 0 bounds its address space.
// Returns the wait status; a child that takes longer than `seconds` is killed by SIGALRM.
inline int in_child(const std::function<int()>& work, unsigned seconds = 60, uint64_t memory_bytes = 0) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(seconds);
    if (memory_bytes > 0 && !kHasShadowMemory) {
      const rlimit limit{memory_bytes, memory_bytes};
      setrlimit(RLIMIT_AS, &limit);
    }
    int status = 99;
    try {
      status = work();
    } catch (const Error& error) {
      status = 100 + error.exit_code();
    } catch (const std::exception&) {
    }
    _exit(status);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

// The Error that `work` throws; fails the test when it throws none.
inline Error error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error was thrown";
  return Error("none", 0);
}

}  // namespace deepsearch::store_test
