// The whole backend, over emulated kernels or a GPU, against the plain decoder: prompts, decode steps of trees that
// share KV blocks, copied blocks, captured steps, weights set again, damage.
#include <deque>

#include "core/error.h"
#include "engine/cuda/device_fixture.h"
#include "engine/cuda/tiny_model.h"

namespace deepsearch::testing {
namespace {

// Largest difference of a logit, in units of the logits' spread (about 1 here). fp32: sums of ≤ 100 terms; the 16-bit
// types round activations some ten times a layer, each time by up to half a unit.
double tolerance(DType type) {
  return type == DType::kF32 ? 2e-5 : 24 * rounding_of(type);
}

struct Sequence {
  std::vector<Token> tokens;  // all, computed or not
  int computed = 0;
  std::vector<BlockId> table;
};

// Runs passes for sequences as a scheduler would, and compares every row's logits.
class Runner {
 public:
  Runner(std::unique_ptr<Backend> backend, const TinyModel& model, DType type, int n_blocks = 64)
      : backend_(std::move(backend)), model_(model), decoder_(model, type), type_(type) {
    backend_->set_weights(model);
    backend_->reserve_blocks(n_blocks);
  }

  Sequence& prompt(int n) {
    Sequence& s = sequences_.emplace_back();
    for (int i = 0; i < n; ++i) s.tokens.push_back(random_token());
    return s;
  }
  // A continuation of what was computed of `parent`: whole blocks shared, the last one copied.
  Sequence& fork(const Sequence& parent) {
    Sequence s;
    s.tokens.assign(parent.tokens.begin(), parent.tokens.begin() + parent.computed);
    s.computed = parent.computed;
    const int whole = parent.computed / kKvBlockTokens;
    s.table.assign(parent.table.begin(), parent.table.begin() + whole);
    const int rest = parent.computed % kKvBlockTokens;
    if (rest > 0) {
      s.table.push_back(next_block_++);
      pass_.copies.push_back({.from = parent.table[static_cast<size_t>(whole)], .to = s.table.back(), .n_slots = rest});
    }
    s.tokens.push_back(random_token());
    return sequences_.emplace_back(s);
  }
  void extend(Sequence& s, int n = 1) {
    for (int i = 0; i < n; ++i) s.tokens.push_back(random_token());
  }

  // Computes `n` tokens more of the sequence (all that are left by default) in the next pass.
  void schedule(Sequence& s, int n = 0) {
    if (n == 0) n = static_cast<int>(s.tokens.size()) - s.computed;
    while (static_cast<int>(s.table.size()) * kKvBlockTokens < s.computed + n) s.table.push_back(next_block_++);
    pass_.spans.push_back({.first_token = static_cast<int32_t>(pass_.tokens.size()),
                           .n_tokens = n,
                           .start = s.computed,
                           .first_block = static_cast<int32_t>(pass_.tables.size()),
                           .n_blocks = static_cast<int32_t>(s.table.size())});
    pass_.tokens.insert(pass_.tokens.end(), s.tokens.begin() + s.computed, s.tokens.begin() + s.computed + n);
    pass_.tables.insert(pass_.tables.end(), s.table.begin(), s.table.end());
    s.computed += n;
    for (int i = 0; i < n; ++i) rows_.push_back({s, s.computed - n + i});
  }

  // A draw of every row; each compared. Returns the logits.
  std::vector<std::vector<float>> run() {
    for (size_t row = 0; row < rows_.size(); ++row)
      pass_.draws.push_back({.row = static_cast<int32_t>(row), .u = 0.37});
    std::vector<SampledToken> drawn;
    backend_->run(pass_, drawn);
    EXPECT_EQ(drawn.size(), rows_.size());
    std::vector<std::vector<float>> all;
    for (size_t row = 0; row < rows_.size(); ++row) {
      all.push_back(backend_->logits_of_draw(row));
      compare(rows_[row], all.back(), drawn[row]);
    }
    pass_.clear();
    rows_.clear();
    return all;
  }

  Backend& backend() { return *backend_; }
  double worst() const { return worst_; }

 private:
  struct Row {
    Sequence sequence;
    int position;
  };
  Token random_token() { return numbers_.below(static_cast<int>(model_.model_config().vocab_size)); }

  void compare(const Row& row, const std::vector<float>& got, const SampledToken& drawn) {
    const auto prefix = [&](int n) {
      return std::vector<Token>(row.sequence.tokens.begin(), row.sequence.tokens.begin() + n);
    };
    if (expected_.count(prefix(row.position + 1)) == 0) {
      const auto logits = decoder_.logits(prefix(row.sequence.computed));
      for (int n = 1; n <= row.sequence.computed; ++n) expected_[prefix(n)] = logits[static_cast<size_t>(n) - 1];
    }
    const std::vector<double>& want = expected_.at(prefix(row.position + 1));
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      worst_ = std::max(worst_, std::abs(got[i] - want[i]));
      ASSERT_NEAR(got[i], want[i], tolerance(type_)) << "position " << row.position << " token " << i;
    }
    double sum = 0;
    for (const float logit : got) sum += std::exp(double{logit});
    EXPECT_NEAR(drawn.logprob, got.at(static_cast<size_t>(drawn.token)) - std::log(sum), 1e-5);
  }

  std::unique_ptr<Backend> backend_;
  const TinyModel& model_;
  PlainDecoder decoder_;
  DType type_;
  Numbers numbers_{77};
  std::deque<Sequence> sequences_;
  BlockId next_block_ = 0;
  Pass pass_;
  std::vector<Row> rows_;
  std::map<std::vector<Token>, std::vector<double>> expected_;
  double worst_ = 0;
};

class BackendTest : public DeviceTest {
 protected:
  std::unique_ptr<Backend> make(const ModelConfig& config, CudaOptions options = {}) {
    options.dtype = type();
    if (options.max_rows == CudaOptions{}.max_rows) options.max_rows = 64;
    return cuda::make_backend(make_device(std::get<0>(GetParam()), type()), config, options);
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, BackendTest, all_cases(), case_name);

// A prompt in two pieces (one by the library's product, one by ours), three branches, decode steps in graphs.
void grow_a_tree(Runner& runner) {
  Sequence& root = runner.prompt(45);
  runner.schedule(root, 38);
  runner.run();
  runner.schedule(root);
  runner.run();
  std::vector<Sequence*> leaves = {&runner.fork(root), &runner.fork(root), &runner.fork(root)};
  for (int step = 0; step < 5; ++step) {
    for (Sequence* leaf : leaves) runner.schedule(*leaf);
    runner.run();
    if (step == 2) leaves.push_back(&runner.fork(*leaves[1]));
    for (size_t i = 0; i < leaves.size(); ++i) {
      if (static_cast<int>(leaves[i]->tokens.size()) == leaves[i]->computed) runner.extend(*leaves[i]);
    }
  }
  // Beside a new prompt.
  Sequence& other = runner.prompt(20);
  runner.schedule(other);
  for (Sequence* leaf : leaves) runner.schedule(*leaf);
  runner.run();
}

TEST_P(BackendTest, TreesOfEveryFamily) {
  for (const ModelFamily family : {ModelFamily::kLlama, ModelFamily::kQwen2, ModelFamily::kQwen3}) {
    for (const bool deterministic : {false, true}) {
      const TinyModel model(tiny_config(family), type(), 5);
      Runner runner(make(model.model_config(), {.deterministic = deterministic}), model, type());
      grow_a_tree(runner);
      RecordProperty("worst", std::to_string(runner.worst()));
    }
  }
}

// Weights of each type, converted on the way.
TEST_P(BackendTest, WeightsOfAnotherType) {
  for (const DType source : {DType::kF32, DType::kF16, DType::kBF16}) {
    const TinyModel model(tiny_config(ModelFamily::kLlama), source, 6);
    Runner runner(make(model.model_config()), model, type());
    runner.schedule(runner.prompt(9));
    runner.run();
  }
}

// What is captured and replayed gives what is launched; the number of rows changes within a bucket and between them.
TEST_P(BackendTest, GraphsChangeNothing) {
  const TinyModel model(tiny_config(ModelFamily::kLlama), type(), 7);
  std::vector<std::vector<std::vector<float>>> results[2];
  for (const bool graphs : {false, true}) {
    Runner runner(make(model.model_config(), {.graphs = graphs}), model, type());
    Sequence& root = runner.prompt(18);
    runner.schedule(root);
    runner.run();
    std::vector<Sequence*> leaves;
    for (int n = 0; n < 7; ++n) leaves.push_back(&runner.fork(root));
    for (const size_t n : {7, 5, 6, 7, 3, 3, 3, 5}) {
      for (size_t i = 0; i < n; ++i) {
        if (leaves[i]->computed == static_cast<int>(leaves[i]->tokens.size())) runner.extend(*leaves[i]);
        runner.schedule(*leaves[i]);
      }
      results[graphs ? 1 : 0].push_back(runner.run());
    }
  }
  EXPECT_EQ(results[0], results[1]);
}

// Deterministic: a token's logits are the same bits however its sequence was divided into passes, whatever ran beside.
TEST_P(BackendTest, DeterministicBits) {
  const TinyModel model(tiny_config(ModelFamily::kQwen2), type(), 8);
  const CudaOptions options{.deterministic = true};
  Runner whole(make(model.model_config(), options), model, type());
  whole.schedule(whole.prompt(150));
  const auto at_once = whole.run();

  Runner pieces(make(model.model_config(), options), model, type());
  Sequence& s = pieces.prompt(150);
  for (const int n : {100, 33, 1, 1, 9}) {
    Sequence& other = pieces.prompt(3 + n / 2);
    pieces.schedule(other);
    const size_t first = static_cast<size_t>(s.computed);
    const size_t beside = static_cast<size_t>(other.computed);
    pieces.schedule(s, n);
    const auto got = pieces.run();
    for (size_t i = 0; i < static_cast<size_t>(n); ++i)
      EXPECT_EQ(got.at(beside + i), at_once.at(first + i)) << first + i;
  }
  // Siblings that share all of it, in a graph.
  std::vector<Sequence*> siblings;
  for (int i = 0; i < 3; ++i) {
    siblings.push_back(&pieces.fork(s));
    siblings.back()->tokens.back() = s.tokens[static_cast<size_t>(s.computed)];
  }
  for (int step = 0; step < 3; ++step) {
    for (Sequence* sibling : siblings) pieces.schedule(*sibling);
    for (const auto& logits : pieces.run()) EXPECT_EQ(logits, at_once.at(static_cast<size_t>(s.computed + step)));
    for (Sequence* sibling : siblings) sibling->tokens.push_back(s.tokens[static_cast<size_t>(s.computed + step + 1)]);
  }
}

// Shared blocks, parts and waves over a longer context; the workspace grows.
TEST_P(BackendTest, LongContext) {
  const TinyModel model(tiny_config(ModelFamily::kLlama), type(), 9);
  Runner runner(make(model.model_config()), model, type());
  Sequence& root = runner.prompt(280);
  runner.schedule(root, 200);
  runner.run();
  Sequence& a = runner.fork(root);
  Sequence& b = runner.fork(root);
  for (int step = 0; step < 3; ++step) {
    runner.schedule(a);
    runner.schedule(b);
    runner.run();
    runner.extend(a);
    runner.extend(b);
  }
}

TEST_P(BackendTest, DrawsThatShareARow) {
  const TinyModel model(tiny_config(ModelFamily::kLlama), type(), 10);
  const auto backend = make(model.model_config());
  backend->set_weights(model);
  backend->reserve_blocks(4);
  Pass pass;
  pass.tokens = {4, 5, 6};
  pass.tables = {2};
  pass.spans = {{.n_tokens = 3, .n_blocks = 1}};
  pass.draws = {{.row = 0, .forced = 9}, {.row = 2, .temperature = 0}, {.row = 2, .forced = 11}, {.row = 2, .u = 0.5}};
  std::vector<SampledToken> drawn;
  backend->run(pass, drawn);
  ASSERT_EQ(drawn.size(), 4U);
  EXPECT_EQ(drawn[0].token, 9);
  EXPECT_EQ(drawn[2].token, 11);
  EXPECT_EQ(backend->logits_of_draw(1), backend->logits_of_draw(3));
  EXPECT_NE(backend->logits_of_draw(0), backend->logits_of_draw(1));
  const auto logits = backend->logits_of_draw(1);
  EXPECT_EQ(drawn[1].token, std::max_element(logits.begin(), logits.end()) - logits.begin());
  EXPECT_EQ(drawn[1].raw_entropy, drawn[2].raw_entropy);
}

TEST_P(BackendTest, WeightsAreReplaced) {
  const ModelConfig config = tiny_config(ModelFamily::kQwen3);
  const TinyModel first(config, type(), 11);
  const TinyModel second(config, type(), 12);
  const auto backend = make(config);
  Pass pass;
  pass.tokens = {4, 5};
  pass.tables = {0};
  pass.spans = {{.n_tokens = 2, .n_blocks = 1}};
  pass.draws = {{.row = 1}};
  backend->reserve_blocks(1);
  std::vector<std::vector<float>> logits;
  for (const TinyModel* model : {&first, &second, &first}) {
    backend->set_weights(*model);
    std::vector<SampledToken> drawn;
    backend->run(pass, drawn);
    logits.push_back(backend->logits_of_draw(0));
  }
  EXPECT_NE(logits[0], logits[1]);
  EXPECT_EQ(logits[0], logits[2]);

  const TinyModel other(tiny_config(ModelFamily::kLlama), type(), 13);
  EXPECT_THROW(backend->set_weights(other), Error);
}

TEST_P(BackendTest, SaysWhenLogitsAreNotFinite) {
  TinyModel model(tiny_config(ModelFamily::kLlama), type(), 14);
  model.damage("lm_head.weight", 70, NAN);
  const auto backend = make(model.model_config());
  backend->set_weights(model);
  backend->reserve_blocks(1);
  Pass pass;
  pass.tokens = {4};
  pass.tables = {0};
  pass.spans = {{.n_tokens = 1, .n_blocks = 1}};
  pass.draws = {{.row = 0}};
  std::vector<SampledToken> drawn;
  try {
    backend->run(pass, drawn);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("not finite"), std::string::npos);
  }
}

TEST_P(BackendTest, RefusesBadPasses) {
  const TinyModel model(tiny_config(ModelFamily::kLlama), type(), 15);
  const auto backend = make(model.model_config());
  backend->set_weights(model);
  std::vector<SampledToken> drawn;
  Pass good;
  good.tokens = {4, 5};
  good.tables = {0};
  good.spans = {{.n_tokens = 2, .n_blocks = 1}};
  good.draws = {{.row = 1}};
  EXPECT_THROW(backend->run(good, drawn), Error);  // no blocks yet
  backend->reserve_blocks(2);
  EXPECT_THROW(backend->reserve_blocks(2), Error);
  backend->run(good, drawn);
  const auto bad = [&](auto change) {
    Pass pass = good;
    change(pass);
    EXPECT_THROW(backend->run(pass, drawn), Error);
  };
  bad([](Pass& p) { p.tokens[0] = 53; });
  bad([](Pass& p) { p.tokens[0] = -1; });
  bad([](Pass& p) { p.tables[0] = 2; });
  bad([](Pass& p) { p.spans[0].n_tokens = 1; });
  bad([](Pass& p) { p.spans[0].start = 15; });
  bad([](Pass& p) { p.spans[0].n_blocks = 2; });
  bad([](Pass& p) { p.draws[0].row = 2; });
  bad([](Pass& p) { p.draws[0].forced = 53; });
  bad([](Pass& p) { p.copies.push_back({.from = 0, .to = 2, .n_slots = 1}); });
  backend->run(good, drawn);
  EXPECT_GT(backend->memory_for_blocks(), 0);
  EXPECT_EQ(backend->block_bytes(), 2 * 2 * 2 * 64 * 16 * (type() == DType::kF32 ? 4 : 2));
}

}  // namespace
}  // namespace deepsearch::testing
