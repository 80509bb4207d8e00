#include "rounds/problem_order.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/rng.h"

namespace deepsearch {

namespace {

constexpr uint64_t kOrders = 0x726f756e6473;  // apart from the orders of problem files, which count from 0

int64_t drawn_from_all(int64_t n, double mix) {
  return static_cast<int64_t>(std::floor(static_cast<double>(n) * mix));
}

}  // namespace

ProblemOrder::ProblemOrder(uint64_t seed, int64_t round, std::vector<int64_t> hard, int64_t pool, double mix)
    : seed_(seed), mix_(mix) {
  if (hard.empty()) failure("no hard problem to draw from");
  hard_ = {.cards = std::move(hard), .key = mix_all(kOrders, round, 0)};
  all_.key = mix_all(kOrders, round, 1);
  if (mix == 0) return;
  all_.cards.resize(static_cast<size_t>(pool));
  std::iota(all_.cards.begin(), all_.cards.end(), 0);
}

int64_t ProblemOrder::problem(int64_t n) {
  const int64_t from_all = drawn_from_all(n, mix_);
  const bool mixed = drawn_from_all(n + 1, mix_) > from_all;
  return mixed ? draw(all_, from_all) : draw(hard_, n - from_all);
}

int64_t ProblemOrder::draw(Deck& deck, int64_t n) const {
  const auto size = static_cast<int64_t>(deck.cards.size());
  if (deck.shuffled != n / size) {
    deck.shuffled = n / size;
    deck.order = deck.cards;
    RandomStream(seed_, RngPurpose::kShuffle, mix_all(deck.key, deck.shuffled)).shuffle(deck.order);
  }
  return deck.order[static_cast<size_t>(n % size)];
}

}  // namespace deepsearch
