#include "learn/network/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>

#include <ATen/Parallel.h>

namespace deepsearch::network {

namespace {

// Grows and is kept by its thread: fresh pages cost more than the work in them.
class Scratch {
 public:
  float* get(int64_t floats) {
    if (floats > size_) {
      data_.reset();
      data_.reset(static_cast<float*>(::operator new(static_cast<size_t>(floats) * sizeof(float), kAlign)));
      std::fill_n(data_.get(), floats, 0.0F);
      size_ = floats;
    }
    return data_.get();
  }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(float* p) const { ::operator delete(p, kAlign); }
  };
  std::unique_ptr<float, Free> data_;
  int64_t size_ = 0;
};

// Some consecutive query tiles of a tree: what one task computes for one kv head.
struct TileSpan {
  int32_t segment;
  int32_t offset;  // of the first query in its segment
  int32_t count;
};
struct Part {
  size_t first = 0, last = 0;               // of the tiles
  int64_t first_token = 0, last_token = 0;  // that its queries can see
  int64_t partial = -1;                     // gradients of keys and values go to this buffer; −1: to their place
};
struct Work {
  std::vector<TileSpan> tiles;
  std::vector<Part> parts;
  int64_t partial_tokens = 0;
};

constexpr int64_t kTasks = 16;  // that a batch is cut into at least, so that threads have something to share

// A tree whose share of the batch is large is cut into parts. Depends on the plan and the shape only.
Work share(const AttentionPlan& plan, const AttentionShape& shape) {
  const int64_t group = shape.n_heads / shape.n_kv_heads;
  const int64_t step = std::max<int64_t>(1, kTileQueries / group);
  const int64_t limit = plan.pairs() * shape.n_kv_heads / kTasks + 1;
  Work work;
  const std::vector<int32_t>& starts = plan.tree_starts();
  for (size_t tree = 0; tree + 1 < starts.size(); ++tree) {
    const size_t first_part = work.parts.size();
    Part part{.first = work.tiles.size()};
    int64_t cost = 0;
    int64_t begin = plan.tokens();
    int64_t end = 0;
    for (int32_t at = starts[tree]; at < starts[tree + 1]; ++at) {
      const int32_t s = plan.tree_segments()[static_cast<size_t>(at)];
      const Segment& segment = plan.segments()[static_cast<size_t>(s)];
      begin = std::min<int64_t>(begin, segment.first);
      end = std::max<int64_t>(end, segment.first + segment.count);
      for (int64_t offset = 0; offset < segment.count; offset += step) {
        const int64_t count = std::min(step, segment.count - offset);
        if (cost > limit) {
          part.last = work.tiles.size();
          work.parts.push_back(part);
          part = {.first = work.tiles.size()};
          cost = 0;
        }
        work.tiles.push_back({s, static_cast<int32_t>(offset), static_cast<int32_t>(count)});
        cost += count * (plan.tokens_before(static_cast<size_t>(s)) + offset + count);
      }
    }
    part.last = work.tiles.size();
    work.parts.push_back(part);
    for (size_t p = first_part; p < work.parts.size(); ++p) {
      work.parts[p].first_token = begin;
      work.parts[p].last_token = end;
      if (p == first_part) continue;
      work.parts[p].partial = work.partial_tokens;
      work.partial_tokens += end - begin;
    }
  }
  return work;
}

// The packed path of the segment that is at work. Segments that come depth-first share what their paths share.
class PathStack {
 public:
  // `pack(token, position)` puts a token's key and value at a place of the path.
  template <class Pack>
  int64_t enter(const AttentionPlan& plan, int32_t segment, std::vector<int32_t>& rows, Pack&& pack) {
    missing_.clear();
    int32_t s = segment;
    while (s >= 0) {
      while (!on_path_.empty() && on_path_.back() > s) on_path_.pop_back();
      if (!on_path_.empty() && on_path_.back() == s) break;
      missing_.push_back(s);
      s = plan.segments()[static_cast<size_t>(s)].parent;
    }
    if (s < 0) on_path_.clear();
    for (; !missing_.empty(); missing_.pop_back()) {
      const auto next = static_cast<size_t>(missing_.back());
      const Segment& one = plan.segments()[next];
      int64_t position = plan.tokens_before(next);
      for (int32_t i = 0; i < one.count; ++i, ++position) {
        rows[static_cast<size_t>(position)] = one.first + i;
        pack(one.first + i, position);
      }
      on_path_.push_back(missing_.back());
    }
    return plan.tokens_before(static_cast<size_t>(segment));
  }

 private:
  std::vector<int32_t> on_path_, missing_;
};

ConstHeads at(const ConstHeads& heads, int64_t token, int64_t head) {
  return {heads.data + token * heads.token + head * heads.head, heads.token, heads.head};
}
Heads at(const Heads& heads, int64_t token, int64_t head) {
  return {heads.data + token * heads.token + head * heads.head, heads.token, heads.head};
}

// Calls task(part, kv head) for all of them in LibTorch's threads.
template <class Task>
void for_parts(const Work& work, int64_t n_kv_heads, Task&& task) {
  const auto parts = static_cast<int64_t>(work.parts.size());
  at::parallel_for(0, parts * n_kv_heads, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) task(work.parts[static_cast<size_t>(i / n_kv_heads)], i % n_kv_heads);
  });
}

// What tiles of one part and kv head have in common.
struct PartRun {
  PartRun(const AttentionPlan& the_plan, const AttentionShape& the_shape, bool backward)
      : plan(the_plan), shape(the_shape), rows(static_cast<size_t>(the_plan.longest_path())) {
    static thread_local Scratch scratch;
    const int64_t group = shape.n_heads / shape.n_kv_heads;
    const int64_t path = round_up(plan.longest_path(), kLanes);
    const int64_t across = path * shape.head_dim;
    const int64_t row = path * round_up(shape.head_dim, kLanes);
    const int64_t work_floats = round_up(attention_work(group), kLanes);
    float* next = scratch.get(work_floats + (backward ? 2 : 1) * round_up(across, kLanes) + row);
    work = next;
    next += work_floats;
    packed.keys_across = next;
    next += round_up(across, kLanes);
    if (backward) {
      packed.values_across = next;
      next += round_up(across, kLanes);
      packed.keys = next;
    } else {
      packed.values = next;
    }
  }

  // The tile, its path packed.
  template <class Pack>
  QueryTile enter(const TileSpan& span, const ConstHeads& q, float* lse, int64_t kv_head, Pack&& pack) {
    const int64_t group = shape.n_heads / shape.n_kv_heads;
    const int64_t before = stack.enter(plan, span.segment, rows, pack);
    const int64_t token = plan.segments()[static_cast<size_t>(span.segment)].first + span.offset;
    return {.tokens = span.count,
            .group = group,
            .before = before + span.offset,
            .head_dim = shape.head_dim,
            .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim))),
            .path = packed,
            .q = at(q, token, kv_head * group),
            .lse = lse + token * shape.n_heads + kv_head * group,
            .lse_token = shape.n_heads};
  }

  const AttentionPlan& plan;
  const AttentionShape& shape;
  std::vector<int32_t> rows;
  float* work = nullptr;
  PackedPath packed;
  PathStack stack;
};

void clear(const Heads& heads, int64_t tokens, const AttentionShape& shape) {
  at::parallel_for(0, tokens, 1024, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      for (int64_t h = 0; h < shape.n_kv_heads; ++h) {
        std::fill_n(heads.data + t * heads.token + h * heads.head, shape.head_dim, 0.0F);
      }
    }
  });
}

// Adds the parts' gradients up, in their order.
void add_partials(const Work& work, const AttentionShape& shape, const float* partial, const Heads& to) {
  for (const Part& part : work.parts) {
    if (part.partial < 0) continue;
    const int64_t width = shape.n_kv_heads * shape.head_dim;
    at::parallel_for(part.first_token, part.last_token, 256, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t) {
        const float* from = partial + (part.partial + t - part.first_token) * width;
        for (int64_t h = 0; h < shape.n_kv_heads; ++h) {
          float* sum = to.data + t * to.token + h * to.head;
          for (int64_t i = 0; i < shape.head_dim; ++i) sum[i] += *from++;
        }
      }
    });
  }
}

}  // namespace

void attention_forward(const AttentionPlan& plan, const AttentionShape& shape, const ConstHeads& q, const ConstHeads& k,
                       const ConstHeads& v, const Heads& out, float* lse, const Kernels& kernels) {
  const Work work = share(plan, shape);
  const int64_t group = shape.n_heads / shape.n_kv_heads;
  for_parts(work, shape.n_kv_heads, [&](const Part& part, int64_t kv_head) {
    PartRun run(plan, shape, /*backward=*/false);
    const auto pack = [&](int64_t token, int64_t position) {
      kernels.pack_forward(at(k, token, kv_head).data, at(v, token, kv_head).data, shape.head_dim, position,
                           run.packed);
    };
    for (size_t i = part.first; i < part.last; ++i) {
      const QueryTile tile = run.enter(work.tiles[i], q, lse, kv_head, pack);
      const int64_t token = plan.segments()[static_cast<size_t>(work.tiles[i].segment)].first + work.tiles[i].offset;
      kernels.attend_forward({tile, at(out, token, kv_head * group)}, run.work);
    }
  });
}

void attention_backward(const AttentionPlan& plan, const AttentionShape& shape, const ConstHeads& q,
                        const ConstHeads& k, const ConstHeads& v, const ConstHeads& out, const float* lse,
                        const ConstHeads& dout, const AttentionGradients& to, const Kernels& kernels) {
  const Work work = share(plan, shape);
  const int64_t group = shape.n_heads / shape.n_kv_heads;
  const int64_t width = shape.n_kv_heads * shape.head_dim;
  std::vector<float> partial_keys(static_cast<size_t>(work.partial_tokens * width));
  std::vector<float> partial_values(partial_keys.size());
  clear(to.dk, plan.tokens(), shape);
  clear(to.dv, plan.tokens(), shape);
  for_parts(work, shape.n_kv_heads, [&](const Part& part, int64_t kv_head) {
    PartRun run(plan, shape, /*backward=*/true);
    const auto pack = [&](int64_t token, int64_t position) {
      kernels.pack_backward(at(k, token, kv_head).data, at(v, token, kv_head).data, shape.head_dim, position,
                            run.packed);
    };
    // Where the gradients of token 0 would go.
    const bool own = part.partial < 0;
    const auto target = [&](const Heads& whole, std::vector<float>& partial) -> Heads {
      if (own) return at(whole, 0, kv_head);
      return {partial.data() + (part.partial - part.first_token) * width + kv_head * shape.head_dim, width, 0};
    };
    const Heads dk = target(to.dk, partial_keys);
    const Heads dv = target(to.dv, partial_values);
    for (size_t i = part.first; i < part.last; ++i) {
      const TileSpan& span = work.tiles[i];
      const QueryTile tile = run.enter(span, q, const_cast<float*>(lse), kv_head, pack);
      const int64_t token = plan.segments()[static_cast<size_t>(span.segment)].first + span.offset;
      kernels.attend_backward({.tile = tile,
                               .out = at(out, token, kv_head * group),
                               .dout = at(dout, token, kv_head * group),
                               .dq = at(to.dq, token, kv_head * group),
                               .dk = dk,
                               .dv = dv,
                               .rows = run.rows.data()},
                              run.work);
    }
  });
  add_partials(work, shape, partial_keys.data(), to.dk);
  add_partials(work, shape, partial_values.data(), to.dv);
}

}  // namespace deepsearch::network
