// The trajectories recorded during a round, by problem and without doubles: what decides at the round's end which
// solutions are cached (algorithm.md section 4, step 5). Of wrong ones only a hash is kept. Pure; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "data/tree_record.h"
#include "rounds/replay_cache.h"

namespace deepsearch {

class RoundTrajectories {
 public:
  // Of a problem at most `keep` solutions are kept; all are counted.
  explicit RoundTrajectories(int64_t keep = 64) : keep_(keep) {}

  // The recorded trajectories of a tree or group, but for those from the cache.
  void add(const TreeRecord& record);
  void add(uint64_t problem, std::vector<Token> tokens, bool correct);

  // Adds the correct ones of every problem of whose trajectories a fraction in (0, max_pass_rate] is correct, and
  // forgets all. Returns how many were new to the cache.
  int64_t move_to(ReplayCache& cache, double max_pass_rate);

  int64_t problems() const { return static_cast<int64_t>(by_problem_.size()); }
  void write(ByteWriter& out) const;
  void read(ByteReader& in);

 private:
  struct Seen {
    std::set<uint64_t> hashes;  // of all
    int64_t correct = 0;
    std::vector<std::vector<Token>> solutions;
  };
  int64_t keep_;
  std::map<uint64_t, Seen> by_problem_;
};

}  // namespace deepsearch
