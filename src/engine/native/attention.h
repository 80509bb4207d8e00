// Attention of a pass over shared KV blocks: which rows go through which blocks together, and the steps of one such
// piece. A piece is some neighbouring rows and one kv head; a block that several of its rows attend to is read once for
// a tile of them. What a row gets does not depend on the pieces: its scores are computed one by one, its softmax runs
// over all of its positions in order, its values are added up position by position (native/kernels.h).
#pragma once

#include <cstdint>
#include <vector>

#include "engine/native/kernels.h"
#include "engine/native/kv_blocks.h"
#include "engine/pass.h"
#include "engine/prefix_groups.h"
#include "model/model_config.h"

namespace deepsearch::native {

struct AttentionPiece {
  int32_t first_row = 0;
  int32_t last_row = 0;
  int32_t first_group = 0;  // groups that may concern these rows, in AttentionPlan::groups()
  int32_t last_group = 0;
  int64_t positions = 0;  // of the row with the most, rounded up to kLanes
};

// Reusable: keeps its memory from pass to pass.
class AttentionPlan {
 public:
  AttentionPlan(const ModelConfig& config, int64_t threads);

  void make(const Pass& pass);

  const std::vector<AttentionPiece>& pieces() const { return pieces_; }
  const std::vector<PrefixGroup>& groups() const { return groups_; }
  bool lone(const AttentionPiece& piece) const;
  // Blocks that only a few rows attend to, in the order of the pieces: their way to memory is what attention waits for.
  const std::vector<BlockId>& lone_blocks() const { return lone_blocks_; }
  // Of a row, in its sequence.
  int32_t position(int64_t row) const { return positions_[static_cast<size_t>(row)]; }
  // Floats that attend() needs for any piece.
  int64_t scratch_floats() const { return scratch_floats_; }

 private:
  void cut(int32_t first_group, int32_t last_group);

  int64_t queries_;  // heads that share a kv head
  int64_t width_;    // head_dim padded
  int64_t kv_heads_;
  int64_t threads_;
  PrefixGroups finder_;
  std::vector<PrefixGroup> groups_;
  std::vector<AttentionPiece> pieces_;
  std::vector<int32_t> positions_;
  std::vector<BlockId> lone_blocks_;
  int64_t scratch_floats_ = 0;
};

// Where a layer's queries and results lie.
struct AttentionTask {
  const Kernels* kernels = nullptr;
  const Pass* pass = nullptr;
  const AttentionPlan* plan = nullptr;
  const KvBlocks* blocks = nullptr;
  int64_t layer = 0;
  int64_t kv_heads = 0;
  int64_t queries = 0;  // heads that share a kv head
  int64_t head_dim = 0;
  const float* q = nullptr;  // [kv_heads, rows, queries, head_dim], rotated and scaled
  int64_t rows = 0;
  float* context = nullptr;  // [rows, context_stride]: heads one after the other
  int64_t context_stride = 0;
};

// Items are pieces times kv heads, an item's heads next to each other. `next` is the item this thread is likely to take
// after this one: its keys are asked of memory on the way (an item past the last is none).
int64_t attention_items(const AttentionTask& task);
void attend(const AttentionTask& task, int64_t item, int64_t next, float* scratch);

}  // namespace deepsearch::native
