#include "engine/native/attention.h"

#include <algorithm>

namespace deepsearch::native {
namespace {

constexpr int64_t kTileQueries = 12;  // the tallest tile of any instruction set
constexpr int64_t kScratchFloats =
    int64_t{64} * 1024;  // of scores: stay in a core's L2 cache with the blocks they are of

constexpr int64_t kFew = 4;  // queries that are done with a block before the next is there

bool same_rows(const PrefixGroup& a, const PrefixGroup& b) {
  return a.first_row == b.first_row && a.last_row == b.last_row;
}

}  // namespace

AttentionPlan::AttentionPlan(const ModelConfig& config, int64_t threads)
    : queries_(config.n_heads / config.n_kv_heads),
      width_(round_up(config.head_dim, kLanes)),
      kv_heads_(config.n_kv_heads),
      threads_(threads) {}

void AttentionPlan::make(const Pass& pass) {
  positions_.resize(pass.tokens.size());
  for (const PassSpan& span : pass.spans) {
    for (int32_t i = 0; i < span.n_tokens; ++i) positions_[static_cast<size_t>(span.first_token + i)] = span.start + i;
  }
  groups_.clear();
  groups_.reserve(3 * pass.spans.size());
  for (const PrefixGroup& group : finder_.find(pass)) {
    // Blocks that only one span has need no step of their own before its tail.
    if (!group.whole && !groups_.empty() && groups_.back().whole && same_rows(groups_.back(), group)) {
      groups_.back().last_block = group.last_block;
      groups_.back().whole = false;
    } else {
      groups_.push_back(group);
    }
  }
  pieces_.clear();
  pieces_.reserve(pass.tokens.size());
  scratch_floats_ = 0;
  const auto n = static_cast<int32_t>(groups_.size());
  for (int32_t first = 0; first < n;) {
    // A group and those below it, whose rows are among its own.
    int32_t last = first + 1;
    while (last < n && groups_[static_cast<size_t>(last)].first_row < groups_[static_cast<size_t>(first)].last_row) {
      ++last;
    }
    cut(first, last);
    first = last;
  }
  lone_blocks_.clear();
  lone_blocks_.reserve(pass.tables.size());
  for (const AttentionPiece& piece : pieces_) {
    const PrefixGroup& group = groups_[static_cast<size_t>(piece.first_group)];
    if (!lone(piece)) continue;
    const auto table = pass.tables.begin() + group.table;
    lone_blocks_.insert(lone_blocks_.end(), table + group.first_block, table + group.last_block);
  }
}

// One span's few rows: blocks that several pieces share are in cache, or soon will be.
bool AttentionPlan::lone(const AttentionPiece& piece) const {
  return piece.last_group - piece.first_group == 1 && (piece.last_row - piece.first_row) * queries_ <= kFew;
}

// Pieces of the rows of groups [first_group, last_group), the first of which has them all.
void AttentionPlan::cut(int32_t first_group, int32_t last_group) {
  const PrefixGroup& all = groups_[static_cast<size_t>(first_group)];
  int32_t most = 0;
  for (int32_t row = all.first_row; row < all.last_row; ++row)
    most = std::max(most, positions_[static_cast<size_t>(row)]);
  const int64_t positions = round_up(most + 1, kLanes);
  int64_t rows = std::max(kTileQueries, kScratchFloats / positions) / queries_;
  if (threads_ > kv_heads_) {
    // Too few heads to go round.
    const int64_t shares = 2 * threads_ / kv_heads_;
    rows = std::min(rows, (all.last_row - all.first_row + shares - 1) / shares);
  }
  rows = std::max<int64_t>(rows, 1);
  for (int32_t row = all.first_row; row < all.last_row; row += static_cast<int32_t>(rows)) {
    AttentionPiece piece{.first_row = row,
                         .last_row = static_cast<int32_t>(std::min<int64_t>(row + rows, all.last_row)),
                         .first_group = first_group,
                         .last_group = last_group,
                         .positions = positions};
    pieces_.push_back(piece);
    const int64_t n = (piece.last_row - piece.first_row) * queries_;
    scratch_floats_ = std::max(scratch_floats_, n * (positions + width_ + kLanes));
  }
}

namespace {

// One piece at work.
class Piece {
 public:
  Piece(const AttentionTask& task, const AttentionPiece& piece, int64_t kv_head, const BlockView& next, float* scratch)
      : t_(task),
        piece_(piece),
        width_(round_up(task.head_dim, kLanes)),
        n_((piece.last_row - piece.first_row) * task.queries),
        q_(task.q + (kv_head * task.rows + piece.first_row) * task.queries * task.head_dim),
        out_(task.context + piece.first_row * task.context_stride + kv_head * task.queries * task.head_dim),
        acc_(scratch),
        sums_(scratch + n_ * width_),
        scores_(sums_ + round_up(n_, kLanes)),
        kv_head_(kv_head),
        next_(next) {}

  void run() {
    for_groups([&](const PrefixGroup& group, int64_t first, int64_t last) { score(group, first, last); });
    std::fill(acc_, acc_ + n_ * width_, 0.0F);
    for_groups([&](const PrefixGroup& group, int64_t first, int64_t last) { mix(group, first, last); });
    for (int64_t row = 0; row < n_; ++row) {
      float* out = out_ + row / t_.queries * t_.context_stride + row % t_.queries * t_.head_dim;
      t_.kernels->divide(acc_ + row * width_, t_.head_dim, sums_[row], out);
    }
  }

 private:
  // body(group, first row, last row) of this piece, rows counted in the pass.
  template <class Body>
  void for_groups(const Body& body) {
    for (int32_t i = piece_.first_group; i < piece_.last_group; ++i) {
      const PrefixGroup& group = t_.plan->groups()[static_cast<size_t>(i)];
      const int64_t first = std::max(group.first_row, piece_.first_row);
      const int64_t last = std::min(group.last_row, piece_.last_row);
      if (first < last) body(group, first, last);
    }
  }
  // Rows of a tail by tiles, each with the positions of its last row.
  template <class Body>
  void for_tiles(int64_t first, int64_t last, const Body& body) {
    const int64_t step = std::max<int64_t>(1, kTileQueries / t_.queries);
    for (int64_t row = first; row < last; row += step) {
      const int64_t end = std::min(last, row + step);
      body(row, end, t_.plan->position(end - 1) + 1);
    }
  }
  int64_t query(int64_t row) const { return (row - piece_.first_row) * t_.queries; }
  const BlockId* table(const PrefixGroup& group) const {
    return t_.pass->tables.data() + group.table + group.first_block;
  }

  void score(const PrefixGroup& group, int64_t first, int64_t last) {
    const BlockView keys = t_.blocks->keys(t_.layer, kv_head_, table(group));
    const int64_t start = group.first_block * kLanes;
    // Where few rows share a block, getting it takes longer than using it.
    BlockView ahead = t_.blocks->values(t_.layer, kv_head_, table(group));
    ahead.blocks = n_ <= kFew ? group.last_block - group.first_block : 0;
    const auto rows = [&](int64_t from, int64_t to, int64_t blocks) {
      t_.kernels->scores(q_ + query(from) * t_.head_dim, (to - from) * t_.queries, t_.head_dim, keys, blocks,
                         scores_ + query(from) * piece_.positions + start, piece_.positions, ahead);
    };
    if (group.whole) return rows(first, last, group.last_block - group.first_block);
    for_tiles(first, last, [&](int64_t from, int64_t to, int64_t positions) {
      const int64_t padded = round_up(positions, kLanes);
      rows(from, to, (padded - start) / kLanes);
      // A row's tail is its last group: all of its scores are there.
      for (int64_t row = from; row < to; ++row) {
        for (int64_t q = query(row); q < query(row + 1); ++q) {
          sums_[q] = t_.kernels->softmax(scores_ + q * piece_.positions, t_.plan->position(row) + 1, padded);
        }
      }
    });
  }

  void mix(const PrefixGroup& group, int64_t first, int64_t last) {
    const BlockView values = t_.blocks->values(t_.layer, kv_head_, table(group));
    const int64_t start = group.first_block * kLanes;
    const auto rows = [&](int64_t from, int64_t to, int64_t positions) {
      t_.kernels->mix(scores_ + query(from) * piece_.positions + start, piece_.positions, (to - from) * t_.queries,
                      values, positions, width_, acc_ + query(from) * width_, next_);
    };
    if (group.whole) return rows(first, last, group.last_block * kLanes - start);
    for_tiles(first, last, [&](int64_t from, int64_t to, int64_t positions) { rows(from, to, positions - start); });
  }

  const AttentionTask& t_;
  const AttentionPiece& piece_;
  int64_t width_;
  int64_t n_;  // queries: rows · heads of the kv head
  const float* q_;
  float* out_;
  float* acc_;     // [n, width]
  float* sums_;    // [n]
  float* scores_;  // [n, positions]
  int64_t kv_head_;
  BlockView next_;  // keys of the next item
};

}  // namespace

int64_t attention_items(const AttentionTask& task) {
  return static_cast<int64_t>(task.plan->pieces().size()) * task.kv_heads;
}

void attend(const AttentionTask& task, int64_t item, int64_t next, float* scratch) {
  const AttentionPiece& piece = task.plan->pieces()[static_cast<size_t>(item / task.kv_heads)];
  BlockView ahead;
  if (next < attention_items(task)) {
    const AttentionPiece& other = task.plan->pieces()[static_cast<size_t>(next / task.kv_heads)];
    if (task.plan->lone(other)) {
      const PrefixGroup& group = task.plan->groups()[static_cast<size_t>(other.first_group)];
      const BlockId* table = task.pass->tables.data() + group.table + group.first_block;
      ahead = task.blocks->keys(task.layer, next % task.kv_heads, table);
      ahead.blocks = group.last_block - group.first_block;
    }
  }
  Piece(task, piece, item % task.kv_heads, ahead, scratch).run();
}

}  // namespace deepsearch::native
