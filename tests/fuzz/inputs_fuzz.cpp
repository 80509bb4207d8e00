// libFuzzer target over what users write and runs leave behind, beside models and HDF5: whatever the bytes, the end is
// a value or an Error of one line, and a value is read back from what is written of it.
//
// The first byte of an input picks the reader, the rest is its file:
//   0  a configuration, with the keys of [search] and [rounds] and one of every type
//   1  a problem file (JSONL)
//   2  resume/replay_cache.bin, its checksum put right
//   3  a checkpoint's state of the rounds, its checksum put right
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/config.h"
#include "core/digest.h"
#include "core/error.h"
#include "data/problem_file.h"
#include "fuzz/seeds.h"
#include "rounds/params.h"
#include "rounds/replay_cache.h"
#include "rounds/state.h"
#include "search/params.h"

namespace deepsearch {
namespace {

constexpr CacheIdentity kIdentity{.vocabulary = 1, .model = 2};
constexpr int64_t kCacheBytes = 4096;

struct Every {
  SearchParams search;
  RoundsParams rounds;
  bool flag = false;
  int64_t number = 1;
  double real = 0.5;
  std::string text = "a \"b\"";
  std::vector<int64_t> numbers = {1, 2};
  std::vector<double> reals = {0.5};
  std::vector<std::string> texts = {"x"};

  void describe(ConfigVisitor& v) {
    v.table({.key = "search", .meaning = "trees"}, [this](ConfigVisitor& t) { search.describe(t); });
    v.table({.key = "rounds", .meaning = "rounds"}, [this](ConfigVisitor& t) { rounds.describe(t); });
    v.table({.key = "every", .meaning = "one of every type"}, [this](ConfigVisitor& t) {
      t.field({.key = "flag", .unit = "", .meaning = "a flag"}, flag);
      t.field({.key = "number", .unit = "", .meaning = "a number", .min = -5, .max = 5}, number);
      t.field({.key = "real", .unit = "", .meaning = "a real number"}, real);
      t.field({.key = "text", .unit = "", .meaning = "a text"}, text);
      t.field({.key = "numbers", .unit = "", .meaning = "numbers", .min = 0}, numbers);
      t.field({.key = "reals", .unit = "", .meaning = "real numbers"}, reals);
      t.field({.key = "texts", .unit = "", .meaning = "texts"}, texts);
    });
  }
};

std::string dump(Every& values) {
  return dump_config([&](ConfigVisitor& v) { values.describe(v); });
}

// `base = "FILE"` opens files: of this folder only, since an input may not depend on the machine.
void read_config_text(const std::string& text) {
  if (text.find("base") != std::string::npos && text.find('/') != std::string::npos) return;
  Every values;
  load_config_text(text, "fuzz.toml", {}, [&](ConfigVisitor& v) { values.describe(v); });
  const std::string written = dump(values);
  Every again;
  load_config_text(written, "dump.toml", {}, [&](ConfigVisitor& v) { again.describe(v); });
  if (dump(again) != written) std::abort();
}

void read_problems_text(const std::string& text) {
  const std::vector<ProblemRow> rows = parse_problem_file(text, "fuzz.jsonl");
  std::string written;
  for (const ProblemRow& row : rows) written += format_problem(row) + "\n";
  const std::vector<ProblemRow> again = parse_problem_file(written, "again.jsonl");
  if (again.size() != rows.size()) std::abort();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!(format_problem(again[i]) == format_problem(rows[i])) || again[i].problem.key != rows[i].problem.key) {
      std::abort();
    }
  }
}

void seal(std::string& bytes) {
  uint64_t sum = 0;
  if (bytes.size() < sizeof sum) return;
  sum = digest_of(std::string_view(bytes).substr(0, bytes.size() - sizeof sum));
  std::memcpy(bytes.data() + bytes.size() - sizeof sum, &sum, sizeof sum);
}

void read_cache(std::string bytes) {
  seal(bytes);
  const ReplayCache cache = cache_from_bytes(bytes, "replay_cache.bin", kIdentity, kCacheBytes);
  if (cache.bytes() > kCacheBytes || cache.bytes() < 0 || cache.solutions() < cache.problems()) std::abort();
  const std::string written = cache_to_bytes(cache, kIdentity);
  if (cache_to_bytes(cache_from_bytes(written, "again", kIdentity, kCacheBytes), kIdentity) != written) std::abort();
}

void read_state(std::string bytes) {
  seal(bytes);
  const RoundsParams params;
  RoundsState state(params);
  state_from_bytes(bytes, "rounds.bin", state);
  const std::string written = state_to_bytes(state);
  RoundsState again(params);
  state_from_bytes(written, "again", again);
  if (state_to_bytes(again) != written) std::abort();
}

void run_one(uint8_t reader, const std::string& text) {
  switch (reader % 4) {
    case 0:
      return read_config_text(text);
    case 1:
      return read_problems_text(text);
    case 2:
      return read_cache(text);
    default:
      return read_state(text);
  }
}

std::vector<std::string> seeds() {
  const auto input = [](char reader, const std::string& file) { return std::string(1, reader) + file; };
  Every values;
  std::vector<std::string> seeds = {input(0, dump(values))};
  seeds.push_back(input(0, "[search]\nwidth = 3\n[every]\nreals = [1, 2.5e3]\ntexts = ['a', \"\\u00e9\"]\n"));
  seeds.push_back(input(
      1,
      "{\"id\": \"61\", \"source\": \"aime24\", \"problem\": \"Every \\u00e9\", \"answer\": \"204\", \"level\": 3, "
      "\"subject\": \"Algebra\"}\n{\"id\": \"62\", \"source\": \"a\", \"problem\": \"p\", \"answer\": \"[1,2]\", "
      "\"list\": true, \"ordered\": false, \"tolerance\": 0.01, \"pass_rate\": 0.25, \"round\": 1, \"x\": [{}]}\n"));
  ReplayCache cache(kCacheBytes);
  cache.add(7, {1, 2, 3});
  cache.add(7, {1, 4});
  cache.add(9, {5});
  seeds.push_back(input(2, cache_to_bytes(cache, kIdentity)));
  RoundsState state{RoundsParams()};
  state.round = 1;
  state.filtered = true;
  state.hard = {3, 5, 8};
  state.pool_digest = 17;
  seeds.push_back(input(3, state_to_bytes(state)));
  state.filtered = false;
  state.filter.candidates = {3, 5, 8};
  state.filter.correct = {2};
  seeds.push_back(input(3, state_to_bytes(state)));
  return seeds;
}

}  // namespace
}  // namespace deepsearch

// A right input must be read without an error, or the mutations would only ever meet the first check.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const std::vector<std::string> seeds = deepsearch::seeds();
  for (const std::string& seed : seeds) deepsearch::run_one(static_cast<uint8_t>(seed[0]), seed.substr(1));
  deepsearch::fuzz::write_seeds_if_asked(*argc, *argv, seeds);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    deepsearch::run_one(data[0], std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  } catch (const deepsearch::Error& error) {
    const std::string text = error.what();
    // One line, the user's fault, and not the whole file again.
    if (error.exit_code() != deepsearch::kExitBadInput || text.find('\n') != std::string::npos || text.size() > 2000) {
      std::abort();
    }
  }
  return 0;
}
