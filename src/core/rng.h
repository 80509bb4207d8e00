// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// Every number is a pure function of (seed; purpose, key, position). Nothing is drawn from a stream whose position
// depends on timing, so a tree is the same on one rank or a hundred. Stateless or owned by its caller.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace deepsearch {

std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Order-dependent mixing of 64-bit words (splitmix64 finaliser); stable across machines and versions: it names trees
// and problems on disk.
uint64_t mix(uint64_t hash, uint64_t value);
template <class... Words>
uint64_t mix_all(uint64_t first, Words... rest) {
  uint64_t hash = first;
  ((hash = mix(hash, static_cast<uint64_t>(rest))), ...);
  return hash;
}
// FNV-1a over bytes, then mixed; stable.
uint64_t hash_text(std::string_view text);

// What a number is for. Two purposes never share numbers.
enum class RngPurpose : uint32_t {
  kSampling = 1,        // tokens of a rollout or an expansion
  kProblems = 2,        // embedded task generators
  kDemonstrations = 3,  // warm-start demonstrations
  kInit = 4,            // initial weights
  kShuffle = 5,         // order of problems and minibatches
  kSelection = 6,       // random tie breaks and random picks inside a tree
  kTests = 7,
};

// A stream of its own for each (seed, purpose, key).
class RandomStream {
 public:
  RandomStream(uint64_t seed, RngPurpose purpose, uint64_t key);

  uint32_t next_u32();
  uint64_t next_u64();
  double uniform();                            // [0, 1), 53 bits
  uint64_t below(uint64_t n);                  // 0 … n−1, unbiased; n ≥ 1
  int64_t between(int64_t low, int64_t high);  // low … high, both included
  double normal();                             // mean 0, deviation 1 (Box–Muller)

  template <class T>
  void shuffle(std::vector<T>& values) {  // Fisher–Yates
    for (size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1], values[below(i)]);
    }
  }

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

// One number of a stream by position, without walking to it: what the sampler uses for the token at `position`.
double uniform_at(uint64_t seed, RngPurpose purpose, uint64_t key, uint64_t position);

}  // namespace deepsearch
