// Trees over a small cluster in one thread: ranks that share expansions through a network of random delays grow the
// records that one rank grows alone.
#include "schedule/sharing.h"

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/rng.h"
#include "search/forest.h"
#include "search/grow.h"

namespace deepsearch::testing {

namespace {

// Delivers in order between any two ranks, and otherwise in any order.
class Network {
 public:
  explicit Network(uint64_t seed) : random_(seed, RngPurpose::kTests, 1) {}
  void send(int from, int to, std::function<void()> deliver) { lanes_[{from, to}].push_back(std::move(deliver)); }
  // Delivers some of what is on its way.
  void move() {
    for (auto& [lane, messages] : lanes_) {
      while (!messages.empty() && random_.below(3) == 0) {
        const std::function<void()> deliver = std::move(messages.front());
        messages.pop_front();
        deliver();
      }
    }
  }
  bool empty() const {
    return std::all_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return lane.second.empty(); });
  }

 private:
  RandomStream random_;
  std::map<std::pair<int, int>, std::deque<std::function<void()>>> lanes_;
};

class Rank : public SharePort {
 public:
  Rank(int rank, Network& network, std::vector<std::unique_ptr<Rank>>& all, const SearchParams& params,
       const Verifier& verifier)
      : rank_(rank),
        network_(network),
        all_(all),
        engine({.order_seed = static_cast<uint64_t>(rank), .per_poll = 2}),
        sharing(engine, rank, *this),
        forest(sharing, verifier, params,
               {.seed = 5, .made_by_rank = 0, .first_handle = SharingGenerator::first_handle(rank)}) {}

  void expand(int helper, SharedRequest request) override {
    network_.send(rank_, helper, [this, helper, shared = std::move(request)] {
      all_[static_cast<size_t>(helper)]->sharing.on_expand(rank_, shared);
    });
  }
  void expanded(int owner, Expansion expansion) override {
    network_.send(rank_, owner, [this, owner, came = std::move(expansion)] {
      all_[static_cast<size_t>(owner)]->sharing.on_expanded(rank_, came);
    });
  }
  void forget(int helper, uint64_t tree) override {
    network_.send(rank_, helper, [this, helper, tree] { all_[static_cast<size_t>(helper)]->sharing.on_forget(tree); });
  }
  void pump() {
    if (forest.growing() > 0) {
      forest.pump();
    } else {
      std::vector<Expansion> none;
      sharing.poll(none);
      EXPECT_TRUE(none.empty());
    }
  }

 private:
  int rank_;
  Network& network_;
  std::vector<std::unique_ptr<Rank>>& all_;

 public:
  RandomGenerator engine;
  SharingGenerator sharing;
  Forest forest;
};

using Records = std::map<TreeKey, std::string>;

TreeKey key_of(int i) {
  return {.round = 1, .step = 2, .problem_index = i, .problem_key = 99, .attempt = 0};
}

void add(Rank& rank, int i) {
  if (i % 3 == 0) {
    rank.forest.add_rollouts(test_problem(), key_of(i), 5);
  } else {
    rank.forest.add_tree(test_problem(), key_of(i));
  }
}

// Who made what, and what was computed again for it, is no part of a tree.
std::string plain_bytes(TreeRecord record) {
  record.made_by_rank = 0;
  record.tokens_prefilled = 0;
  for (NodeRecord& node : record.nodes) node.made_by_rank = 0;
  return bytes_of(record);
}

struct Cluster {
  Cluster(int n, uint64_t seed, const SearchParams& params, const Verifier& verifier) : network(seed) {
    for (int i = 0; i < n; ++i) ranks.push_back(std::make_unique<Rank>(i, network, ranks, params, verifier));
  }
  // All trees on rank 0; leases come and go at random.
  Records grow(int trees, uint64_t seed) {
    RandomStream random(seed, RngPurpose::kTests, 2);
    for (int i = 0; i < trees; ++i) add(*ranks[0], i);
    Records records;
    while (static_cast<int>(records.size()) < trees) {
      for (size_t helper = 1; helper < ranks.size(); ++helper) {
        if (random.below(5) == 0) ranks[0]->sharing.share(static_cast<int>(helper), random.below(3) > 0, 0);
      }
      for (auto& rank : ranks) rank->pump();
      network.move();
      for (TreeRecord& record : ranks[0]->forest.take_finished()) {
        const TreeKey key = record.key;
        records[key] = plain_bytes(std::move(record));
      }
    }
    return records;
  }
  void settle() {
    while (!network.empty()) network.move();
  }

  Network network;
  std::vector<std::unique_ptr<Rank>> ranks;
};

TEST(Sharing, TreesAreTheSameWhoeverMadeTheirSteps) {
  const RuleVerifier verifier = hashed_verifier();
  int64_t lent = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    SearchParams params = random_params(seed);
    params.frontier_batch = seed % 2 == 0 ? 1 : 3;
    const Records alone = Cluster(1, seed, params, verifier).grow(9, seed);
    for (const int n : {2, 4}) {
      Cluster cluster(n, seed, params, verifier);
      EXPECT_EQ(alone, cluster.grow(9, seed));
      cluster.settle();
      for (const auto& rank : cluster.ranks) EXPECT_EQ(rank->sharing.load(), Load{});
      lent += cluster.ranks[0]->sharing.counters().expansions_lent;
    }
  }
  EXPECT_GT(lent, 1000);
}

TEST(Sharing, RequestsGoToTheShortestQueueAndStayWithTheirPrefix) {
  const RuleVerifier verifier([](TokenSpan, bool) { return Outcome::kWrong; });
  SearchParams params = small_params();
  params.max_depth = 30;
  Cluster cluster(2, 1, params, verifier);
  Rank& owner = *cluster.ranks[0];
  for (int i = 0; i < 8; ++i) owner.forest.add_rollouts(test_problem(), key_of(i), 4);
  EXPECT_EQ(owner.sharing.load(), (Load{.own_requests = 8, .own_sequences = 32, .here = 32}));
  owner.sharing.share(1, true, 0);
  for (int i = 0; i < 300; ++i) {
    for (auto& rank : cluster.ranks) rank->pump();
    cluster.network.move();
    const Load& load = owner.sharing.load();
    if (i > 100 && load.own_sequences > 8) {  // as near to one half as single sequences allow
      EXPECT_NEAR(static_cast<double>(load.here), static_cast<double>(load.own_sequences) / 2, 3.0);
    }
  }
  // Whatever is sent a second time is a prefix that changed hands, and with even queues hardly any does.
  const SharingCounters& counters = owner.sharing.counters();
  EXPECT_GT(counters.expansions_lent, 20);
  EXPECT_LT(counters.tokens_resent, counters.expansions_lent * 6);
}

TEST(Sharing, ReleasedTreesLeaveNothingBehind) {
  const RuleVerifier verifier = hashed_verifier();
  SearchParams params = small_params();
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Cluster cluster(3, seed, params, verifier);
    Rank& owner = *cluster.ranks[0];
    for (int i = 0; i < 6; ++i) add(owner, i);
    for (const int helper : {1, 2}) owner.sharing.share(helper, true, 0);
    for (uint64_t i = 0; i < 3 + seed; ++i) {
      for (auto& rank : cluster.ranks) rank->pump();
      cluster.network.move();
    }
    owner.forest.cancel_all();
    cluster.settle();
    for (auto& rank : cluster.ranks) {
      rank->pump();
      EXPECT_EQ(rank->sharing.load(), Load{});
      EXPECT_EQ(rank->engine.in_flight(), 0);
    }
  }
}

TEST(Sharing, AHelperWaitsForWeightsAsNewAsTheTrees) {
  const RuleVerifier verifier = hashed_verifier();
  Cluster cluster(2, 3, small_params(), verifier);
  cluster.ranks[0]->sharing.set_version(4);
  for (int i = 0; i < 4; ++i) add(*cluster.ranks[0], i);
  cluster.ranks[0]->sharing.share(1, true, 0);
  for (int i = 0; i < 20; ++i) {
    for (auto& rank : cluster.ranks) rank->pump();
    cluster.network.move();
  }
  EXPECT_GT(cluster.ranks[0]->sharing.counters().expansions_lent, 0);
  EXPECT_EQ(cluster.ranks[1]->sharing.load().here, 0);
  cluster.ranks[1]->sharing.set_version(4);
  EXPECT_GT(cluster.ranks[1]->sharing.load().here, 0);
  while (cluster.ranks[0]->forest.growing() > 0) {
    for (auto& rank : cluster.ranks) rank->pump();
    cluster.network.move();
  }
}

TEST(Sharing, RefusesWhatDoesNotFit) {
  const RuleVerifier verifier = hashed_verifier();
  Cluster cluster(2, 3, small_params(), verifier);
  SharingGenerator& sharing = cluster.ranks[1]->sharing;
  sharing.set_version(0);
  SharedRequest foreign;
  foreign.request.tree = SharingGenerator::first_handle(0);
  foreign.request.path = {{.node = 0, .n_tokens = 3}};
  foreign.known_tokens = 3;
  EXPECT_THROW(sharing.on_expand(0, foreign), Error);  // nothing is known of that tree
  foreign.known_tokens = 0;
  foreign.request.prefix = {1, 2};
  EXPECT_THROW(sharing.on_expand(0, foreign), Error);
  foreign.request.prefix = {1, 2, 3};
  EXPECT_THROW(sharing.on_expand(1, foreign), Error);  // not its tree
}

}  // namespace

}  // namespace deepsearch::testing
