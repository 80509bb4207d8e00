// The scheduler's own records; see batch_engine.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/batch_engine.h"

namespace deepsearch {

// Tokens a child's vectors make room for at once; a longer step grows them.
constexpr int32_t kReservedTokens = 1024;

struct BatchEngine::Child {
  enum class State {
    kWaiting,  // its first token is to be drawn
    kRunning,  // has tokens; those without KV are fed as soon as there is room, then the next is drawn
    kSampled,  // ended, to be judged
    kKept,
    kDropped,
  };
  State state = State::kWaiting;
  int32_t attempt = 0;
  Step step;
  std::shared_ptr<KvNode> kv;  // its own tokens
  std::string text_tail;       // of the response, as far back as a stop string can reach
  // In the pass being built:
  int32_t fed = 0;     // tokens of it that are run
  bool drawn = false;  // its next token is drawn
};

struct BatchEngine::Job {
  // Tokens of one path node to run in the pass being built.
  struct Chunk {
    const KvNode* node = nullptr;
    int32_t from = 0;
    int32_t n = 0;
  };

  ExpansionRequest request;
  std::vector<Child> children;
  std::shared_ptr<KvNode> path;  // the expanded node; none before the request is first looked at
  bool pinned = false;
  int64_t tokens_generated = 0;
  int64_t tokens_prefilled = 0;
  int64_t waiting = 0;    // children whose first token is to be drawn
  int64_t running = 0;    // children in the batch
  int64_t unsettled = 0;  // children neither kept nor dropped
  bool to_judge = false;  // has children sampled in this pass
  // In the pass being built:
  bool in_pass = false;       // has anything in it, here or below
  std::vector<Chunk> chunks;  // in path order
  bool path_row = false;      // the last chunk ends with the path's last token, whose distribution can be drawn from
};

}  // namespace deepsearch
