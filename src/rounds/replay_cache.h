// Solutions that search found, kept over rounds: a problem that has some is trained on among direct rollouts instead of
// by another tree (algorithm.md section 4). Tokens are kept as they were generated, end-of-sequence token included, and
// count as verified. Pure; one thread.
//
// Bounded in bytes: when it is full, the oldest solution of the problem that has most goes first; of equally full
// problems the one whose oldest is the oldest.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "data/tokens.h"

namespace deepsearch {

class ByteReader;
class ByteWriter;

// What the tokens mean anything to: digests of the vocabulary, and of the model's shape.
struct CacheIdentity {
  uint64_t vocabulary = 0;
  uint64_t model = 0;
  bool operator==(const CacheIdentity&) const = default;
};

class ReplayCache {
 public:
  explicit ReplayCache(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // False: the problem has this solution already, or it alone is larger than the bound.
  bool add(uint64_t problem, std::vector<Token> tokens);
  // The first up to `most` solutions of at most `longest` tokens, oldest first; none: {}.
  std::vector<std::vector<Token>> first(uint64_t problem, int64_t most, int64_t longest) const;

  int64_t problems() const { return static_cast<int64_t>(solutions_.size()); }
  int64_t solutions() const { return count_; }
  int64_t bytes() const { return bytes_; }      // what the bound holds: tokens and what is kept beside them
  int64_t evicted() const { return evicted_; }  // solutions, since it was made

  void write(ByteWriter& out) const;
  void read(ByteReader& in);  // into an empty one; evicts where this one's bound is smaller

 private:
  struct Solution {
    int64_t serial = 0;  // counts additions
    std::vector<Token> tokens;
  };
  using Order = std::tuple<int64_t, int64_t, uint64_t>;  // −solutions, serial of the oldest, problem

  static int64_t bytes_of(const std::vector<Token>& tokens);
  static Order order_of(uint64_t problem, const std::deque<Solution>& solutions);
  void insert(uint64_t problem, Solution solution);
  void evict_surplus();

  int64_t max_bytes_;
  int64_t bytes_ = 0;
  int64_t count_ = 0;
  int64_t evicted_ = 0;
  int64_t next_serial_ = 0;
  std::map<uint64_t, std::deque<Solution>> solutions_;  // by problem, oldest first
  std::set<Order> fullest_;                             // first
};

// A cache as a file of its own, resume/replay_cache.bin: with a checksum, and what its tokens belong to.
std::string cache_to_bytes(const ReplayCache& cache, const CacheIdentity& identity);
// bad_input ("WHERE: …"): damage; a cache of another tokenizer or model.
ReplayCache cache_from_bytes(std::string_view bytes, const std::string& where, const CacheIdentity& identity,
                             int64_t max_bytes);

}  // namespace deepsearch
