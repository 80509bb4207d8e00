// No allocation in a pass once a larger one was seen, nor when weights are set again. Counts every operator new of this
// program and every mapping of pages.
#include <fstream>

#include <gtest/gtest.h>

#include "engine/counting_new.h"
#include "engine/native/native_backend.h"
#include "engine/native/native_fixture.h"

namespace deepsearch {
namespace {

// Kilobytes of address space.
int64_t mapped() {
  std::ifstream in("/proc/self/statm");
  int64_t pages = 0;
  in >> pages;
  return pages;
}

TEST(NativeBackend, NothingIsAllocatedAfterTheLargestPass) {
  const ModelConfig config = testing::odd_config();
  const ModelWeights weights = testing::lively_weights(config, 1);
  for (const int64_t threads : {1, 3}) {
    const auto backend = make_native_backend(config, threads);
    backend->set_weights(weights);
    backend->reserve_blocks(64);
    testing::BlockBook book;
    std::vector<testing::Sequence> sequences;
    for (uint64_t i = 0; i < 8; ++i) sequences.push_back(book.sequence(testing::prompt_of(i, 60, config)));
    // Passes of growing contexts, made beforehand; the first is the largest in every respect.
    std::vector<Pass> passes;
    for (const int32_t length : {60, 1, 30, 59}) {
      Pass pass;
      for (const testing::Sequence& sequence : sequences) {
        const int32_t first = length == 60 ? 0 : length;
        testing::add_span(pass, sequence, first, length == 60 ? 60 : 1);
        const auto row = static_cast<int32_t>(pass.tokens.size()) - 1;
        pass.draws.push_back({.row = row, .u = 0.4});
        pass.draws.push_back({.row = row, .temperature = 0.6F, .top_p = 0.8F, .top_k = 9, .u = 0.4});
        pass.draws.push_back({.row = row, .temperature = 0.0F});
      }
      passes.push_back(std::move(pass));
    }
    std::vector<SampledToken> drawn;
    backend->run(passes[0], drawn);
    const int64_t before = allocations;
    const int64_t mapped_before = mapped();
    const int64_t probe = allocations - before;  // what the measurement itself allocates
    for (const Pass& pass : passes) backend->run(pass, drawn);
    EXPECT_EQ(allocations - before, probe) << threads << " threads";
    EXPECT_EQ(mapped(), mapped_before);

    const int64_t before_weights = allocations;
    backend->set_weights(weights);
    EXPECT_EQ(allocations, before_weights);
  }
}

}  // namespace
}  // namespace deepsearch
