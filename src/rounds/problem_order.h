// Which problem is drawn when: the hard ones in an order of their own each time through, and with `mix` some out of the
// whole pool in between. A pure function of (seed, round, number), so that a run goes on where it was from a count.
#pragma once

#include <cstdint>
#include <vector>

namespace deepsearch {

class ProblemOrder {
 public:
  // `hard` holds numbers of the pool, of which there are `pool`; at least one. 0 ≤ mix ≤ 1.
  ProblemOrder(uint64_t seed, int64_t round, std::vector<int64_t> hard, int64_t pool, double mix);

  // The n-th draw of the round: a number of the pool. Cheap for n that grow.
  int64_t problem(int64_t n);

 private:
  struct Deck {
    std::vector<int64_t> cards;
    uint64_t key = 0;
    int64_t shuffled = -1;  // times through
    std::vector<int64_t> order = {};
  };
  int64_t draw(Deck& deck, int64_t n) const;

  uint64_t seed_;
  double mix_;
  Deck hard_;
  Deck all_;
};

}  // namespace deepsearch
