// A finished tree (or a group of plain rollouts, which is a tree that only branches at its root) as plain columns:
// what search ranks send, the learner trains on and the store writes. Nodes are numbered by creation, root 0; a node's
// tokens are one run of the flat token columns; the root's run is empty (the prompt is kept beside).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/problem.h"
#include "data/verdict.h"

namespace deepsearch {

// kReplay: rollouts, the first of which are cached solutions instead of sampled ones (rounds/replay_group.h).
// kBranch: rollouts from a place on the way of a solution that the problem's tree found (search/branch_rollouts.h).
enum class RecordKind : uint8_t { kTree = 0, kRollouts = 1, kReplay = 2, kBranch = 3 };

enum class StopReason : uint8_t {
  kRunning = 0,    // not finished: never in a record that travels
  kEnough = 1,     // `trajectories` terminals were recorded
  kExhausted = 2,  // no frontier node was left; leftovers filled the places
  kBudget = 3,     // the tree's token budget was spent
  kSolved = 4,     // stop_when_solved
  kCancelled = 5,  // the run was stopped
};

struct TreeKey {
  int64_t round = 0;
  int64_t step = 0;           // optimisation step the tree is grown for
  int64_t problem_index = 0;  // place in the step's batch: the order trees are packed in
  uint64_t problem_key = 0;
  int64_t attempt = 0;  // of a problem that is given several times within one step

  auto operator<=>(const TreeKey&) const = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(round, step, problem_index, problem_key, attempt);
  }
};

struct NodeRecord {
  int32_t parent = -1;
  int32_t depth = 0;
  int32_t first_token = 0;  // into the flat token columns
  int32_t n_tokens = 0;
  int32_t visits = 0;  // N(s)
  double value = 0;    // q(s), accumulated, final
  double entropy = 0;  // H(s), nats; by [search].entropy
  double logprob = 0;  // sum over the step's tokens, nats
  bool terminal = false;
  Outcome outcome = Outcome::kNone;  // terminals only
  int32_t created = 0;               // iteration that made it
  int32_t expanded = -1;             // iteration that first expanded it, −1 never
  int32_t made_by_rank = 0;
  bool dropped = false;  // a terminal that the safeguard keeps out of the loss (rounds/safeguard.h)
  bool given = false;    // kBranch: up to the place where rollouts begin; no more trained on than the prompt

  template <class Archive>
  void serialize(Archive& archive) {
    archive(parent, depth, first_token, n_tokens, visits, value, entropy, logprob, terminal, outcome, created, expanded,
            made_by_rank, dropped, given);
  }
};

// Why the safeguard keeps an incorrect trajectory out of the loss.
enum class Dropped : uint8_t { kNo = 0, kRepetition = 1, kGarbled = 2 };

// A trajectory picked for training, in the order of recording.
struct RecordedLeaf {
  int32_t leaf = 0;  // node
  double reward = 0;
  double entropy = 0;  // trajectory mean, nats per token
  Outcome outcome = Outcome::kNone;
  bool leftover = false;           // filled a place after the frontier ran dry
  bool cached = false;             // a solution from the replay cache
  Dropped dropped = Dropped::kNo;  // as its node is, and why

  template <class Archive>
  void serialize(Archive& archive) {
    archive(leaf, reward, entropy, outcome, leftover, cached, dropped);
  }
};

// The search's own diary.
enum class EventKind : uint8_t {
  kExpand = 0,          // node: expanded; score: children made
  kPick = 1,            // node: terminal picked; score: its reward
  kBackup = 2,          // node: terminal backed up; score: its reward
  kSelectLocal = 3,     // node: chosen; score: its UCT
  kSelectFrontier = 4,  // node: chosen; score: F(s)
  kSelectUct = 5,       // node: chosen by a walk from the root
  kSelectDeepest = 6,   // node: chosen by [search].order = "deepest"
  kLeftover = 7,        // node: leftover terminal that fills a place
  kStop = 8,            // node: −1; score: StopReason
};

struct SearchEvent {
  int32_t iteration = 0;
  EventKind kind = EventKind::kExpand;
  int32_t node = -1;
  double score = 0;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(iteration, kind, node, score);
  }
};

struct TreeRecord {
  RecordKind kind = RecordKind::kTree;
  TreeKey key;
  Problem problem;
  int64_t policy_version = 0;  // the oldest that took part
  StopReason stop_reason = StopReason::kRunning;
  int32_t iterations = 0;
  int64_t tokens_generated = 0;  // sampled, discarded ones included
  int64_t tokens_prefilled = 0;
  double seconds = 0;             // wall time from first request to finish
  double seconds_generating = 0;  // of these, waiting for or inside the generator
  int32_t made_by_rank = 0;
  std::vector<NodeRecord> nodes;
  std::vector<Token> tokens;            // flat, by node
  std::vector<float> logprobs;          // behaviour log-probs, beside tokens
  std::vector<float> entropies;         // beside tokens
  std::vector<int32_t> token_versions;  // beside tokens: the policy version that made each
  std::vector<RecordedLeaf> recorded;
  std::vector<SearchEvent> events;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(kind, key, problem, policy_version, stop_reason, iterations, tokens_generated, tokens_prefilled, seconds,
            seconds_generating, made_by_rank, nodes, tokens, logprobs, entropies, token_versions, recorded, events);
  }
};

// Node ids from the root's child down to `leaf`.
std::vector<int32_t> path_to(const TreeRecord& tree, int32_t leaf);
// The first recorded trajectory that is correct: its leaf; −1 for none.
int32_t first_solution(const TreeRecord& tree);
// All tokens of the trajectory that ends in `leaf`.
std::vector<Token> trajectory_tokens(const TreeRecord& tree, int32_t leaf);
// The tree without all but the root and the nodes on the way to recorded leaves, numbered anew in the same order;
// events of the others are left out.
TreeRecord recorded_paths(const TreeRecord& tree);
bool has_correct(const TreeRecord& tree);  // any terminal, recorded or not

const char* to_string(StopReason reason);
const char* to_string(RecordKind kind);
const char* to_string(Dropped why);
const char* to_string(EventKind kind);

}  // namespace deepsearch
