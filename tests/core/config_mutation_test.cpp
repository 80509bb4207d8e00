// Random damage to a valid config: load_config_text must either accept the text or throw an Error of one line with exit
// code 2, and what it accepts must survive dump and reload.

#include <gtest/gtest.h>

#include "core/config.h"
#include "core/config_sample.h"
#include "core/error.h"
#include "core/rng.h"

namespace deepsearch {
namespace {

constexpr const char* kValid = R"(# a run
seed = 17
[search]
width = 4
rate = 2.5e-1
order = "deepest"
sizes = [1, 0x2, 3_000]
[search.filter]
passes = 3
[run]
name = "caf\u00e9 \"x\""
verbose = true
weights = [0.5, -1, 1.0]
tasks = ["a", 'b', """c"""]
anything = -inf
)";

std::string mutated(std::string text, RandomStream& random) {
  static const std::vector<std::string> kPieces = {"[",
                                                   "]",
                                                   "[[",
                                                   "{",
                                                   "}",
                                                   "=",
                                                   ".",
                                                   "\"",
                                                   "\"\"\"",
                                                   "'",
                                                   "'''",
                                                   "#",
                                                   "\n",
                                                   "\r",
                                                   "\\",
                                                   "\\u",
                                                   "\\UFFFFFFFF",
                                                   "\xff",
                                                   "\xc3",
                                                   "nan",
                                                   "inf",
                                                   "1e999",
                                                   "-0",
                                                   "0x",
                                                   "1_",
                                                   "99999999999999999999",
                                                   "true",
                                                   "1979-05-27",
                                                   "base = 'none.toml'\n",
                                                   "[search]\n",
                                                   "a.b",
                                                   "\t",
                                                   ",",
                                                   std::string(1, '\0'),
                                                   "width = 5\n",
                                                   "[run.name]\n",
                                                   "{a={a={a=1}}}"};
  for (uint64_t n = 1 + random.below(4); n > 0 && !text.empty(); --n) {
    const size_t at = random.below(text.size());
    const size_t length = 1 + random.below(12);
    switch (random.below(5)) {
      case 0:
        text[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, kPieces[random.below(kPieces.size())]);
        break;
      case 3:
        text.insert(random.below(text.size()), text.substr(at, length * 4));
        break;
      default:
        text.resize(at);
        break;
    }
  }
  return text;
}

TEST(ConfigMutations, NeverCrashAndNeverHalfFill) {
  RandomStream random(1, RngPurpose::kTests, 12);
  int accepted = 0;
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string text = mutated(kValid, random);
    SampleParams params;
    try {
      load_config_text(text, "m.toml", {}, params.describer());
      ++accepted;
    } catch (const Error& error) {  // anything else ends the test
      ++refused;
      ASSERT_EQ(error.exit_code(), kExitBadInput) << text;
      ASSERT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
      ASSERT_EQ(params, SampleParams()) << text;
      continue;
    }
    SampleParams again;
    ASSERT_NO_THROW(load_config_text(dump_config(params.describer()), "dump.toml", {}, again.describer())) << text;
    ASSERT_EQ(again, params) << text;
  }
  // The damage is of both kinds, so that both branches were really tried.
  EXPECT_GT(accepted, 500);
  EXPECT_GT(refused, 5000);
}

TEST(ConfigMutations, OverridesNeverCrash) {
  RandomStream random(1, RngPurpose::kTests, 13);
  const std::vector<std::string> valid = {"search.width=4",           "run.name=x",
                                          "search.sizes=[1, 2]",      "run={verbose=true}",
                                          "search.filter.passes=0x3", "search.order='deepest'"};
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    SampleParams params;
    try {
      load_config_text("", "m.toml", {mutated(valid[random.below(valid.size())], random)}, params.describer());
    } catch (const Error& error) {
      ++refused;
      ASSERT_EQ(error.exit_code(), kExitBadInput);
      ASSERT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
      ASSERT_TRUE(std::string_view(error.what()).starts_with("--set ")) << error.what();
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace deepsearch
