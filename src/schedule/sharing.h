// SharingGenerator: a rank's engine, and those of the ranks that help it, as one StepGenerator.
//
// A tree has one writer, its owner. What is shared is the generation of its steps: an expansion may be made by a
// helper, and comes back as if it had been made here. What is generated does not depend on who does it, since an
// expansion is a pure function of (weights, prefix, sampling key); only Expansion::made_by_rank tells.
//
// Each request goes to the shortest queue, in sequences, among this rank's own and those of its current helpers; it
// stays with the rank that made its node, and so has the KV of its prefix, unless another queue is shorter by more than
// the request itself. A helper keeps the nodes of the trees it helps, so that only the part of a prefix that it does
// not know is sent.
//
// The other direction is here too: requests of other ranks' trees are put to the engine, and their expansions go back.
//
// Handles of trees name their owner (first_handle), so that trees of several owners live on one engine. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <unordered_map>
#include <vector>

#include "schedule/load.h"
#include "search/step_generator.h"

namespace deepsearch {

// An expansion asked of a helper.
struct SharedRequest {
  ExpansionRequest request;  // prefix: without its first known_tokens
  int32_t known_tokens = 0;  // which the helper has, as nodes of the path
  int64_t min_version = 0;   // a helper with an older policy waits for this one
  template <class Archive>
  void serialize(Archive& archive) {
    archive(request, known_tokens, min_version);
  }
};

// How it leaves this rank: messages, or the simulation's network. What is sent from one rank to another arrives in
// order.
class SharePort {
 public:
  virtual ~SharePort() = default;
  virtual void expand(int helper, SharedRequest request) = 0;
  virtual void expanded(int owner, Expansion expansion) = 0;
  virtual void forget(int helper, uint64_t tree) = 0;
};

struct SharingCounters {
  int64_t expansions_lent = 0;    // sent to helpers
  int64_t expansions_helped = 0;  // made for others
  int64_t tokens_helped = 0;      // generated for others
  int64_t tokens_resent = 0;      // prefix tokens sent to helpers
};

class SharingGenerator : public StepGenerator {
 public:
  // `engine` and `port` outlive it. `rank`: the world rank.
  SharingGenerator(StepGenerator& engine, int rank, SharePort& port);

  // Handles of the trees that `rank` owns count up from here.
  static uint64_t first_handle(int rank) { return ((static_cast<uint64_t>(rank) + 1) << kHandleBits) + 1; }
  static int owner_of(uint64_t tree) { return static_cast<int>(tree >> kHandleBits) - 1; }

  // Of this rank's own trees.
  void submit(ExpansionRequest request) override;
  void poll(std::vector<Expansion>& finished) override;
  int64_t in_flight() const override { return load_.own_requests; }
  void release(uint64_t tree) override;

  // The engine has these weights now. Trees must not be continued by older ones than they were begun with.
  void set_version(int64_t policy_version);

  // From the coordinator: whom to send to. `helper_load`: sequences of its own.
  void share(int helper, bool on, int64_t helper_load);
  // From an owner: failure() for a request whose prefix is not known here.
  void on_expand(int owner, SharedRequest request);
  void on_forget(uint64_t tree);
  // From a helper. Of a tree that was released meanwhile: ignored.
  void on_expanded(int helper, Expansion expansion);
  // Drops all work for others: this rank stops.
  void drop_foreign();

  const Load& load() const { return load_; }
  const SharingCounters& counters() const { return counters_; }
  bool engine_busy() const { return load_.here > 0; }
  int64_t helpers() const { return static_cast<int64_t>(helpers_.size()); }

 private:
  static constexpr int kHandleBits = 40;
  struct Running {  // a request of one of this rank's trees
    int rank = 0;
    int32_t n_children = 0;
    int32_t first_child = 0;
  };
  struct OwnTree {
    int64_t first_version = 0;
    std::unordered_map<int32_t, Running> running;  // by node
    std::unordered_map<int32_t, int> made_by;      // nodes that were not made here
    // By helper: the nodes it knows, and their lengths.
    std::map<int, std::unordered_map<int32_t, int32_t>> known;
  };
  struct ForeignTree {
    int owner = 0;
    std::unordered_map<int32_t, std::vector<Token>> nodes;
    std::unordered_map<int32_t, Running> running;
  };

  int choose(const OwnTree& tree, const ExpansionRequest& request) const;
  int64_t queue_of(int rank) const;
  void send(OwnTree& tree, int helper, ExpansionRequest request);
  void start_foreign(int owner, SharedRequest shared);
  void return_foreign(Expansion expansion);
  void account(const Running& running, int sign);

  StepGenerator& engine_;
  const int rank_;
  SharePort& port_;
  int64_t version_ = -1;  // no weights yet
  int64_t own_here_ = 0;  // sequences of this rank's trees on its own engine
  Load load_;
  SharingCounters counters_;
  std::map<int, int64_t> helpers_;  // whom to send to, and what each has of its own
  std::map<int, int64_t> lent_;     // sequences at each rank, helper now or before
  std::unordered_map<uint64_t, OwnTree> own_;
  std::unordered_map<uint64_t, ForeignTree> foreign_;
  std::vector<std::pair<int, SharedRequest>> early_;  // for weights that have not come yet
  std::vector<Expansion> came_;                       // from helpers, since the last poll
  std::vector<Expansion> from_engine_;                // scratch of poll
};

}  // namespace deepsearch
