// Attention over paged, shared KV against plain loops in double precision; the kernel before it, which fills the KV
// blocks; and copies of blocks.
#include <cmath>

#include "engine/cuda/device_fixture.h"
#include "engine/cuda/pass_maker.h"
#include "engine/cuda/pass_plan.h"

namespace deepsearch::testing {
namespace {

struct Heads {
  int heads, kv_heads, padded, dim;
  int group() const { return heads / kv_heads; }
  int width() const { return (heads + 2 * kv_heads) * padded; }
};

class AttentionTest : public DeviceTest {
 protected:
  // Keys and values at random, everywhere; queries of the pass at random.
  void make_values(const Heads& h, int n_blocks, size_t rows) {
    Numbers numbers(11);
    const auto n = static_cast<size_t>(n_blocks * h.kv_heads * kKvBlockTokens * h.padded);
    keys_ = numbers.normals(n, 1, type());
    values_ = numbers.normals(n, 1, type());
    qkv_ = numbers.normals(rows * static_cast<size_t>(h.width()), 1.5F, type());
  }
  float key(const Heads& h, BlockId block, int kv_head, int slot, int i) const {
    return keys_[static_cast<size_t>(((block * h.kv_heads + kv_head) * kKvBlockTokens + slot) * h.padded + i)];
  }
  float value(const Heads& h, BlockId block, int kv_head, int slot, int i) const {
    return values_[static_cast<size_t>(((block * h.kv_heads + kv_head) * h.padded + i) * kKvBlockTokens + slot)];
  }

  std::vector<float> attend(const Heads& h, const Pass& pass, const cuda::PlanShape& shape) {
    cuda::PassPlan plan(shape);
    plan.make(pass, 0);
    std::vector<std::byte> bytes(static_cast<size_t>(plan.bytes()));
    plan.write(pass, bytes.data());
    const auto buffer = upload(bytes);
    const auto qkv = upload_typed(qkv_);
    const auto keys = upload_typed(keys_);
    const auto values = upload_typed(values_);
    const size_t rows = pass.tokens.size();
    const int stride = h.heads * h.padded;
    const auto out = upload_typed(std::vector<float>(rows * static_cast<size_t>(stride), NAN));
    const auto partial = upload(std::vector<float>(static_cast<size_t>(shape.slot_capacity * stride), NAN));
    const auto stats = upload(std::vector<float>(static_cast<size_t>(shape.slot_capacity * h.heads * 2), NAN));
    const auto* base = buffer.as<std::byte>();
    const auto ints = [base](int64_t offset) { return reinterpret_cast<const int32_t*>(base + offset); };
    cuda::AttentionArgs args{.qkv = qkv.data(),
                             .out = out.data(),
                             .buffer = ints(0),
                             .positions = ints(plan.layout().positions),
                             .part_first = ints(plan.layout().part_first),
                             .part_count = ints(plan.layout().part_count),
                             .partial = partial.as<float>(),
                             .partial_stats = stats.as<float>(),
                             .kv = {.keys = keys.data(), .values = values.data()},
                             .groups = cuda::head_groups(h.heads, h.kv_heads),
                             .heads = h.heads,
                             .kv_heads = h.kv_heads,
                             .padded_head = h.padded,
                             .stride = stride,
                             .scale = static_cast<float>(M_LOG2E / std::sqrt(h.dim))};
    for (size_t i = 0; i < plan.waves().size(); ++i) {
      const cuda::Wave& wave = plan.waves()[i];
      args.n_items = ints(plan.layout().wave_items) + i;
      args.items = reinterpret_cast<const cuda::AttentionItem*>(base + plan.layout().items) + wave.first_item;
      args.grid = std::min(shape.parallelism, wave.n_items * args.groups.n_groups);
      device_->kernels().attention(args);
      args.first_row = wave.first_row;
      args.rows = wave.n_rows;
      device_->kernels().merge(args);
    }
    return download_typed(out.data(), rows * static_cast<size_t>(stride));
  }

  void compare(const Heads& h, const Pass& pass, const std::vector<float>& got) {
    size_t row = 0;
    for (const PassSpan& span : pass.spans) {
      const BlockId* table = pass.tables.data() + span.first_block;
      for (int i = 0; i < span.n_tokens; ++i, ++row) {
        for (int head = 0; head < h.heads; ++head) compare_head(h, table, span.start + i, row, head, got);
      }
    }
  }

  void compare_head(const Heads& h, const BlockId* table, int position, size_t row, int head,
                    const std::vector<float>& got) {
    const float* q = qkv_.data() + row * static_cast<size_t>(h.width()) + static_cast<size_t>(head * h.padded);
    std::vector<double> weight;
    double sum = 0;
    for (int p = 0; p <= position; ++p) {
      double score = 0;
      for (int i = 0; i < h.padded; ++i) score += double{q[i]} * key(h, table[p / 16], head / h.group(), p % 16, i);
      weight.push_back(std::exp(score / std::sqrt(h.dim)));
      sum += weight.back();
    }
    for (int i = 0; i < h.padded; ++i) {
      double want = 0;
      double magnitude = 0;
      for (int p = 0; p <= position; ++p) {
        const double term = weight[static_cast<size_t>(p)] / sum * value(h, table[p / 16], head / h.group(), p % 16, i);
        want += term;
        magnitude += std::abs(term);
      }
      // The weights are rounded to the type (and the result), everything else is fp32.
      const size_t at = row * static_cast<size_t>(h.heads * h.padded) + static_cast<size_t>(head * h.padded + i);
      ASSERT_NEAR(got[at], want, rounding_of(type()) * (magnitude + std::abs(want)) + 1e-5)
          << "row " << row << " head " << head << " dim " << i;
    }
  }

  std::vector<float> keys_;
  std::vector<float> values_;
  std::vector<float> qkv_;
};
INSTANTIATE_TEST_SUITE_P(Devices, AttentionTest, all_cases(), case_name);

// Every group size, all head widths: a tree's decode step and prompts beside it.
TEST_P(AttentionTest, GroupsAndWidths) {
  const std::vector<Heads> all = {{1, 1, 64, 64}, {4, 2, 96, 80},  {3, 1, 64, 40},   {8, 2, 128, 128},
                                  {5, 1, 96, 96}, {12, 2, 64, 64}, {7, 1, 128, 100}, {20, 1, 64, 64}};
  for (size_t i = 0; i < all.size(); ++i) {
    const Heads& h = all[i];
    const PassMaker maker = i % 2 == 0 ? tree_pass(90, 2, 30, 3) : mixed_pass();
    make_values(h, maker.n_blocks(), maker.pass.tokens.size());
    compare(h, maker.pass,
            attend(h, maker.pass, {.heads = h.heads, .kv_heads = h.kv_heads, .parallelism = 6, .slot_capacity = 400}));
  }
}

// Parts of any size, in one wave and in several, give the same; so do the fixed parts of a deterministic plan.
TEST_P(AttentionTest, PartsAndWaves) {
  const Heads h{6, 2, 64, 64};
  for (const PassMaker& maker : {tree_pass(210, 2, 20, 9), mixed_pass()}) {
    make_values(h, maker.n_blocks(), maker.pass.tokens.size());
    for (const int parallelism : {1, 20, 1000}) {
      for (const bool deterministic : {false, true}) {
        compare(h, maker.pass,
                attend(h, maker.pass,
                       {.heads = 6,
                        .kv_heads = 2,
                        .deterministic = deterministic,
                        .parallelism = parallelism,
                        .slot_capacity = 40}));
      }
    }
  }
}

// Deterministic: a row has the same bits alone as in company.
TEST_P(AttentionTest, DeterministicRows) {
  const Heads h{6, 2, 64, 64};
  const cuda::PlanShape shape{
      .heads = 6, .kv_heads = 2, .deterministic = true, .parallelism = 30, .slot_capacity = 400};
  const PassMaker maker = tree_pass(200, 3, 40, 3);
  make_values(h, maker.n_blocks(), maker.pass.tokens.size());
  const std::vector<float> together = attend(h, maker.pass, shape);
  const std::vector<float> all_q = qkv_;
  const auto stride = static_cast<size_t>(h.heads * h.padded);
  for (size_t i = 0; i < maker.pass.spans.size(); ++i) {
    const PassSpan& span = maker.pass.spans[i];
    PassMaker alone;
    alone.add(
        {maker.pass.tables.begin() + span.first_block, maker.pass.tables.begin() + span.first_block + span.n_blocks},
        span.start, 1);
    const auto width = static_cast<std::ptrdiff_t>(h.width());
    qkv_.assign(all_q.begin() + static_cast<std::ptrdiff_t>(i) * width,
                all_q.begin() + static_cast<std::ptrdiff_t>(i + 1) * width);
    const std::vector<float> got = attend(h, alone.pass, shape);
    EXPECT_TRUE(std::equal(got.begin(), got.end(), together.begin() + static_cast<std::ptrdiff_t>(i * stride))) << i;
  }
}

// Nothing depends on the order in which threads happen to run (emulation: the other way round).
TEST_P(AttentionTest, OrderOfThreads) {
  const Heads h{4, 2, 64, 64};
  const PassMaker maker = mixed_pass();
  make_values(h, maker.n_blocks(), maker.pass.tokens.size());
  const cuda::PlanShape shape{.heads = 4, .kv_heads = 2, .parallelism = 9, .slot_capacity = 400};
  const std::vector<float> first = attend(h, maker.pass, shape);
  emulation::set_reverse_order(true);
  const std::vector<float> second = attend(h, maker.pass, shape);
  emulation::set_reverse_order(false);
  EXPECT_EQ(first, second);
}

struct QkvCase {
  int heads, kv_heads, dim, padded;
  bool bias, norm;
};

TEST_P(AttentionTest, QkvIntoBlocks) {
  for (const QkvCase& c : {QkvCase{3, 1, 64, 64, false, false}, QkvCase{4, 2, 80, 96, true, false},
                           QkvCase{2, 2, 128, 128, false, true}, QkvCase{2, 1, 10, 64, true, true}}) {
    Numbers numbers(12);
    const int n_heads = c.heads + 2 * c.kv_heads;
    const auto width = static_cast<size_t>(n_heads * c.padded);
    const std::vector<int32_t> positions = {5, 0, 29};
    const std::vector<int32_t> slots = {2 * 16 + 5, 16, 3 * 16 + 13};
    const int half = c.dim / 2;
    std::vector<float> qkv = numbers.normals(3 * width, 1, type());
    std::vector<float> bias = numbers.normals(width, 1);
    for (size_t i = 0; i < qkv.size(); ++i) {
      if (static_cast<int>(i) % c.padded >= c.dim) qkv[i] = bias[i % width] = 0;
    }
    const std::vector<float> q_gain = numbers.normals(static_cast<size_t>(c.dim), 1);
    const std::vector<float> k_gain = numbers.normals(static_cast<size_t>(c.dim), 1);
    const std::vector<float> angles = numbers.normals(static_cast<size_t>(30 * half), 2);
    std::vector<float> cosines;
    std::vector<float> sines;
    for (const float angle : angles) {
      cosines.push_back(std::cos(angle));
      sines.push_back(std::sin(angle));
    }
    const auto pool_size = static_cast<size_t>(4 * c.kv_heads * 16 * c.padded);
    const auto qkv_on = upload_typed(qkv);
    const auto keys_on = upload_typed(std::vector<float>(pool_size, 7));
    const auto values_on = upload_typed(std::vector<float>(pool_size, 7));
    const auto bias_on = upload(bias);
    const auto q_gain_on = upload(q_gain);
    const auto k_gain_on = upload(k_gain);
    const auto positions_on = upload(positions);
    const auto slots_on = upload(slots);
    const auto cosines_on = upload(cosines);
    const auto sines_on = upload(sines);
    device_->kernels().qkv({.qkv = qkv_on.data(),
                            .bias = c.bias ? bias_on.as<float>() : nullptr,
                            .q_gain = c.norm ? q_gain_on.as<float>() : nullptr,
                            .k_gain = c.norm ? k_gain_on.as<float>() : nullptr,
                            .positions = positions_on.as<int32_t>(),
                            .slots = slots_on.as<int32_t>(),
                            .cosines = cosines_on.as<float>(),
                            .sines = sines_on.as<float>(),
                            .kv = {.keys = keys_on.data(), .values = values_on.data()},
                            .rows = 3,
                            .heads = c.heads,
                            .kv_heads = c.kv_heads,
                            .head_dim = c.dim,
                            .padded_head = c.padded,
                            .eps = 1e-6F});
    const auto got_q = download_typed(qkv_on.data(), 3 * width);
    keys_ = download_typed(keys_on.data(), pool_size);
    values_ = download_typed(values_on.data(), pool_size);
    const Heads h{c.heads, c.kv_heads, c.padded, c.dim};
    int written = 0;
    for (size_t row = 0; row < 3; ++row) {
      const BlockId block = slots[row] / 16;
      const int slot = slots[row] % 16;
      for (int head = 0; head < n_heads; ++head) {
        std::vector<double> x;
        double squares = 0;
        for (int i = 0; i < c.dim; ++i) {
          const size_t at = static_cast<size_t>(head * c.padded + i);
          x.push_back(double{qkv[row * width + at]} + (c.bias ? bias[at] : 0.0F));
          squares += x.back() * x.back();
        }
        const bool is_value = head >= c.heads + c.kv_heads;
        const bool is_key = !is_value && head >= c.heads;
        if (c.norm && !is_value) {
          for (int i = 0; i < c.dim; ++i) {
            x[static_cast<size_t>(i)] *=
                (is_key ? k_gain : q_gain)[static_cast<size_t>(i)] / std::sqrt(squares / c.dim + 1e-6);
          }
        }
        for (int i = 0; i < c.dim; ++i) {
          double want = x[static_cast<size_t>(i)];
          if (!is_value) {
            const auto j = static_cast<size_t>(positions[row] * half + i % half);
            const double other = x[static_cast<size_t>(i < half ? i + half : i - half)];
            want = want * cosines[j] + (i < half ? -other : other) * sines[j];
          }
          float got = got_q[row * width + static_cast<size_t>(head * c.padded + i)];
          if (is_key) got = key(h, block, head - c.heads, slot, i);
          if (is_value) got = value(h, block, head - c.heads - c.kv_heads, slot, i);
          ASSERT_NEAR(got, want, rounding_of(type()) * std::abs(want) + 1e-5) << row << " " << head << " " << i;
          if (is_key || is_value) ++written;
        }
      }
    }
    const auto untouched =
        std::count(keys_.begin(), keys_.end(), 7.0F) + std::count(values_.begin(), values_.end(), 7.0F);
    EXPECT_EQ(untouched, static_cast<std::ptrdiff_t>(2 * pool_size) - written);
  }
}

TEST_P(AttentionTest, CopyOfBlocks) {
  const Heads h{1, 2, 64, 64};
  const int layers = 2;
  const int n_blocks = 4;
  const auto half_layer = static_cast<size_t>(n_blocks * h.kv_heads * 16 * h.padded);
  Numbers numbers(13);
  const std::vector<float> before = numbers.normals(2 * layers * half_layer, 1, type());
  const auto pool = upload_typed(before);
  const std::vector<BlockCopy> copies = {{.from = 1, .to = 3, .n_slots = 5}, {.from = 2, .to = 0, .n_slots = 16}};
  const auto copies_on = upload(copies);
  device_->kernels().copy_blocks({.copies = copies_on.as<BlockCopy>(),
                                  .n_copies = 2,
                                  .pool = pool.data(),
                                  .n_blocks = n_blocks,
                                  .layers = layers,
                                  .kv_heads = h.kv_heads,
                                  .padded_head = h.padded});
  const auto after = download_typed(pool.data(), before.size());
  for (size_t part = 0; part < 2 * layers; ++part) {
    const bool is_key = part % 2 == 0;
    const auto first = static_cast<std::ptrdiff_t>(part * half_layer);
    std::vector<float>& side = is_key ? keys_ : values_;
    const auto read = [&](const std::vector<float>& pool_values) {
      side.assign(pool_values.begin() + first, pool_values.begin() + first + static_cast<std::ptrdiff_t>(half_layer));
      std::vector<float> list;  // [block][kv head][slot][dim]
      for (int x = 0; x < static_cast<int>(half_layer); ++x) {
        const int i = x % h.padded;
        const int slot = x / h.padded % 16;
        const int kv_head = x / h.padded / 16 % h.kv_heads;
        const BlockId block = x / h.padded / 16 / h.kv_heads;
        list.push_back(is_key ? key(h, block, kv_head, slot, i) : value(h, block, kv_head, slot, i));
      }
      return list;
    };
    std::vector<float> want = read(before);
    const std::vector<float> old = want;
    const int per_block = h.kv_heads * 16 * h.padded;
    for (const BlockCopy& copy : copies) {
      for (int x = 0; x < per_block; ++x) {
        if (x / h.padded % 16 >= copy.n_slots) continue;
        want[static_cast<size_t>(copy.to * per_block + x)] = old[static_cast<size_t>(copy.from * per_block + x)];
      }
    }
    EXPECT_EQ(read(after), want) << "part " << part;
  }
}

}  // namespace
}  // namespace deepsearch::testing
