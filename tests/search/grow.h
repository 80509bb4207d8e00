// Growing trees in tests: the driving loop, records as bytes, random parameters.
#pragma once

#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "core/rng.h"
#include "search/fake_generators.h"
#include "search/tree.h"

namespace deepsearch::testing {

inline Problem test_problem() {
  Problem problem;
  problem.id = "p1";
  problem.source = "test";
  problem.prompt = "what is it?";
  problem.prompt_tokens = {7, 8, 9};
  problem.key = 99;
  return problem;
}

// Small trees with everything in them.
inline SearchParams small_params() {
  SearchParams params;
  params.max_depth = 5;
  params.step_tokens = 4;
  params.width = 3;
  params.trajectories = 6;
  return params;
}

inline void drive(Episode& episode, StepGenerator& generator) {
  std::vector<Expansion> came;
  while (!episode.done()) {
    while (auto request = episode.next_request()) generator.submit(std::move(*request));
    came.clear();
    generator.poll(came);
    for (Expansion& expansion : came) episode.apply(std::move(expansion));
  }
}

inline RuleVerifier hashed_verifier() {
  return RuleVerifier(hashed_outcome);
}

inline TreeRecord grow(const SearchParams& params, uint64_t seed, const Verifier& verifier,
                       const RandomGeneratorOptions& options = {}, TreeObserver* observer = nullptr,
                       uint64_t handle = 3) {
  RandomGenerator generator(options);
  Tree tree(test_problem(), {.round = 1, .problem_key = 99}, params, verifier, seed, handle, observer);
  drive(tree, generator);
  return tree.finish();
}

// A record's bytes, through the same serialize() that messages use; seconds left out by the caller where they differ.
class ByteArchive {
 public:
  template <class... Values>
  void operator()(Values&... values) {
    (put(values), ...);
  }
  std::string bytes;

 private:
  template <class Value>
  void put(Value& value) {
    if constexpr (std::is_arithmetic_v<Value> || std::is_enum_v<Value>) {
      bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    } else if constexpr (std::is_same_v<Value, std::string>) {
      bytes += value;
    } else if constexpr (requires { value.serialize(*this); }) {
      value.serialize(*this);
    } else {
      bytes += std::to_string(value.size()) + ":";
      for (auto& element : value) put(element);
    }
  }
};

inline std::string bytes_of(TreeRecord record) {
  record.seconds = 0;
  record.seconds_generating = 0;
  ByteArchive archive;
  record.serialize(archive);
  return archive.bytes;
}

// Any legal setting of the published keys.
inline SearchParams random_params(uint64_t seed) {
  RandomStream random(seed, RngPurpose::kTests, 5);
  SearchParams params;
  params.max_depth = random.between(1, 7);
  params.step_tokens = random.between(1, 6);
  params.width = random.between(1, 5);
  params.trajectories = random.between(1, 10);
  params.gamma_min = random.below(2) == 0 ? 0.1 : 0.5;
  params.lambda2 = static_cast<double>(random.between(-1, 1)) * 0.4;
  params.lambda4 = random.below(3) == 0 ? 0.3 : 0.0;
  params.depth_bonus = static_cast<DepthBonus>(random.below(4));
  params.entropy = static_cast<EntropyKind>(random.below(2));
  params.negative_selection = static_cast<NegativeSelection>(random.below(3));
  params.local_tie = static_cast<LocalTie>(random.below(4));
  params.classes = static_cast<Classes>(random.below(2));
  params.incomplete_reward = -0.5 * static_cast<double>(random.below(3));
  params.count_final_eos = random.below(2) == 0;
  params.frontier_only = random.below(4) != 0;
  params.width_decay = random.below(3) == 0;
  return params;
}

}  // namespace deepsearch::testing
