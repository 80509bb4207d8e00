// Backend: the arithmetic below the scheduler. It holds the weights and the memory of keys and values (KV), and runs
// the decoder over a list of rows, a row being one token at one place of one tree. It knows nothing of requests,
// sampling or trees; the scheduler knows nothing of tensors.
//
// One thread owns a backend; it may use threads of its own inside forward().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/tokens.h"
#include "model/weights.h"

namespace deepsearch {

// Memory for the KV of one segment, of all layers; made by a backend, which outlives it.
class KvStore {
 public:
  virtual ~KvStore() = default;
  // Makes room for exactly `tokens` tokens; the first min(old, tokens) keep their values. 0 frees the memory.
  virtual void resize(int32_t tokens) = 0;
  virtual int32_t capacity() const = 0;
};

// The tokens of one node and their KV. Children point at their parent's segment, so a prefix is stored once however
// many sequences continue it, and lives as long as any of them.
struct KvSegment {
  std::shared_ptr<KvSegment> parent;  // none for the root
  int32_t start = 0;                  // position of tokens[0] in the sequence
  std::vector<Token> tokens;
  int32_t filled = 0;       // tokens[0 .. filled) have KV, or get it in the pass being built
  bool tail_unfed = false;  // sampled here and its last token was never fed: see EngineCounters
  std::unique_ptr<KvStore> store;

  int32_t size() const { return static_cast<int32_t>(tokens.size()); }
};

// One token to run through the decoder: segment->tokens[offset], attending to everything before it on its path.
struct BackendRow {
  KvSegment* segment = nullptr;
  int32_t offset = 0;
  bool write = true;          // false: its KV is already there, only the logits are wanted
  bool wants_logits = false;  // logits of the next token
};

class Backend {
 public:
  virtual ~Backend() = default;

  // Weights of the shape the backend was made for (failure() otherwise). KV of older weights becomes meaningless; the
  // caller drops it.
  virtual void set_weights(const ModelWeights& weights) = 0;
  virtual std::unique_ptr<KvStore> make_store(int32_t tokens) = 0;
  // Runs all rows. A row may attend to tokens stored before, and to tokens of rows listed before it that write.
  // logits: [rows that want them, vocab_size] float32, in row order; resized here.
  virtual void forward(std::span<const BackendRow> rows, std::vector<float>& logits) = 0;
  virtual int64_t kv_bytes() const = 0;  // held by stores now
  virtual std::string description() const = 0;
};

}  // namespace deepsearch
