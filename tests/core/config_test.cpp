#include "core/config.h"

#include <bit>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/config_sample.h"
#include "core/error.h"
#include "core/rng.h"
#include "core/temp_folder.h"

namespace deepsearch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Overrides = std::vector<std::string>;

SampleParams load(const std::string& text, const Overrides& overrides = {}) {
  SampleParams params;
  load_config_text(text, "run.toml", overrides, params.describer());
  return params;
}

// The message of the Error that `text` and `overrides` must cause; nothing may have been filled in.
std::string refusal(const std::string& text, const Overrides& overrides = {}) {
  SampleParams params;
  try {
    load_config_text(text, "run.toml", overrides, params.describer());
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    EXPECT_EQ(params, SampleParams()) << "half filled";
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << "more than one line";
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << text;
  return "";
}

TEST(Config, EmptyTextLeavesDefaults) {
  EXPECT_EQ(load(""), SampleParams());
}

TEST(Config, ReadsEveryKind) {
  const SampleParams params = load(R"(
seed = -9223372036854775808
[search]
width = 0x10
rate = 1        # an integer is a number too
order = "deepest"
sizes = [3, 4, 5]
filter.passes = 7
[run]
name = 'it is'
)");
  EXPECT_EQ(params.seed, std::numeric_limits<int64_t>::min());
  EXPECT_EQ(params.width, 16);
  EXPECT_EQ(params.rate, 1.0);
  EXPECT_EQ(params.order, SampleOrder::kDeepest);
  EXPECT_THAT(params.sizes, ElementsAre(3, 4, 5));
  EXPECT_EQ(params.passes, 7);
}

TEST(Config, ReadsArraysBooleansAndInlineTables) {
  const SampleParams params = load(R"(
search = {width = 2, filter = {passes = 9}}
run.verbose = true
run.weights = [1, -0.25]
run.tasks = []
run.anything = -inf
)");
  EXPECT_EQ(params.width, 2);
  EXPECT_EQ(params.passes, 9);
  EXPECT_TRUE(params.verbose);
  EXPECT_THAT(params.weights, ElementsAre(1.0, -0.25));
  EXPECT_TRUE(params.tasks.empty());
  EXPECT_EQ(params.anything, -std::numeric_limits<double>::infinity());
}

TEST(Config, AcceptsByteOrderMarkAndCarriageReturns) {
  EXPECT_EQ(load("\xEF\xBB\xBFseed = 5\r\n[search]\r\nwidth = 3\r\n").width, 3);
}

TEST(ConfigErrors, UnknownKeyNamesPlaceAndNearest) {
  EXPECT_EQ(refusal("\n[search]\n  widht = 4\n"), "run.toml:3:3: unknown key [search].widht; did you mean \"width\"?");
  EXPECT_EQ(refusal("[serch]\nwidth = 4\n"), "run.toml:1:2: unknown key serch; did you mean \"search\"?");
  EXPECT_EQ(refusal("[search.filtre]\npasses = 4\n"),
            "run.toml:1:9: unknown key [search].filtre; did you mean \"filter\"?");
}

TEST(ConfigErrors, KeyOfAnotherTableIsPointedOut) {
  EXPECT_EQ(refusal("passes = 4\n"), "run.toml:1:1: unknown key passes; did you mean [search.filter].passes?");
}

TEST(ConfigErrors, FarFromEveryKeyListsWhatIsKnown) {
  EXPECT_EQ(refusal("[search.filter]\nzzzzzzzzzzzz = 4\n"),
            "run.toml:2:1: unknown key [search.filter].zzzzzzzzzzzz; known here: passes");
}

TEST(ConfigErrors, FirstInTheFileIsReported) {
  EXPECT_THAT(refusal("[search]\nzwidth = 4\nawidth = 4\n"), testing::StartsWith("run.toml:2:1: "));
}

TEST(ConfigErrors, WrongTypesNameFoundAndExpected) {
  EXPECT_EQ(refusal("[search]\nwidth = \"8\"\n"),
            "run.toml:2:9: [search].width: found a string (\"8\"), expected an integer");
  EXPECT_THAT(refusal("search.width = 8.0"), HasSubstr("found a float (8.0), expected an integer"));
  EXPECT_THAT(refusal("search.width = true"), HasSubstr("found a boolean (true), expected an integer"));
  EXPECT_THAT(refusal("search.width = [8]"), HasSubstr("found an array, expected an integer"));
  EXPECT_THAT(refusal("search.width = 1979-05-27"), HasSubstr("found a date or time, expected an integer"));
  EXPECT_THAT(refusal("search.rate = '1'"), HasSubstr("expected a number"));
  EXPECT_THAT(refusal("run.name = 4"), HasSubstr("found an integer (4), expected a string"));
  EXPECT_THAT(refusal("run.verbose = 1"), HasSubstr("expected true or false"));
  EXPECT_THAT(refusal("search.sizes = 1"), HasSubstr("expected an array of integers"));
  EXPECT_THAT(refusal("search.order = 1"), HasSubstr("expected one of \"frontier\", \"deepest\""));
}

TEST(ConfigErrors, ArrayElementsAreCounted) {
  EXPECT_EQ(refusal("search.sizes = [1,\n 2.5]"),
            "run.toml:2:2: [search].sizes element 1: found a float (2.5), expected an array of integers");
  EXPECT_EQ(refusal("search.sizes = [1, -1]"),
            "run.toml:1:16: [search].sizes: element 1: -1 is outside the range: at least 0 tokens");
}

TEST(ConfigErrors, TableWhereValueAndValueWhereTable) {
  EXPECT_THAT(refusal("[search.width]\n"), HasSubstr("[search].width: found a table, expected an integer"));
  EXPECT_EQ(refusal("search = 3\n"), "run.toml:1:1: [search]: found an integer (3), expected a table");
  EXPECT_THAT(refusal("[[search]]\nwidth = 3\n"), HasSubstr("[search]: found an array, expected a table"));
}

TEST(ConfigErrors, RangesAreTold) {
  EXPECT_EQ(refusal("search.width = 0"), "run.toml:1:16: [search].width: 0 is outside the range: 1 to 1024 children");
  EXPECT_THAT(refusal("search.rate = 1.5"), HasSubstr("1.5 is outside the range: 0 to 1"));
  EXPECT_THAT(refusal("search.rate = nan"), HasSubstr("nan is not a number"));
  EXPECT_THAT(refusal("run.anything = nan"), HasSubstr("nan is not a number"));
  EXPECT_THAT(refusal("search.rate = inf"), HasSubstr("inf is outside"));
  EXPECT_EQ(load("search.width = 1").width, 1);
  EXPECT_EQ(load("search.width = 1024").width, 1024);
}

TEST(ConfigErrors, ChoicesAreListed) {
  EXPECT_EQ(
      refusal("search.order = 'fronteir'"),
      "run.toml:1:16: [search].order: \"fronteir\" is none of \"frontier\", \"deepest\"; did you mean \"frontier\"?");
  EXPECT_THAT(refusal("run.tasks = ['a', 'x']"), HasSubstr("element 1: \"x\" is none of \"a\", \"b\", \"c\""));
}

TEST(ConfigErrors, SyntaxNamesLineAndColumn) {
  EXPECT_THAT(refusal("seed = 1\n[search\n"), testing::StartsWith("run.toml:2:8: TOML: "));
  EXPECT_THAT(refusal("seed = 1\nseed = 2\n"), testing::StartsWith("run.toml:2:"));
  EXPECT_THAT(refusal("seed = 99999999999999999999\n"), testing::StartsWith("run.toml:1:"));
  EXPECT_THAT(refusal("run.name = \"\xff\"\n"), testing::StartsWith("run.toml:1:"));
}

// Text on which toml++ 3.3 fails an assertion of its own instead of reporting an error.
TEST(ConfigErrors, AssertionsOfTheParserAreErrorsWithTheirLine) {
  EXPECT_EQ(refusal("seed = 1\nsearch.sizes = [}\nseed = 3\n"),
            "run.toml:2: TOML: not a key, value or table that can be read");
  EXPECT_THAT(refusal("[.]"), testing::StartsWith("run.toml:1: TOML: not a key"));
}

TEST(ConfigErrors, HostileTextIsRefused) {
  std::string dots = "a";
  for (int i = 0; i < 200000; ++i) dots += ".a";
  EXPECT_THAT(refusal("seed = 1\n" + dots + " = 1"), testing::StartsWith("run.toml:2: a key with more than 32 dots"));
  EXPECT_THAT(refusal("[" + dots + "]"), HasSubstr("more than 32 dots"));
  EXPECT_THAT(refusal("search.sizes = " + std::string(100000, '[')), testing::StartsWith("run.toml:1:"));
  EXPECT_THAT(refusal(std::string(2 << 20, '\n')), HasSubstr("at most 1048576"));
  EXPECT_THAT(refusal(std::string(5000, 'k') + " = 1"), HasSubstr("…"));
  EXPECT_THAT(refusal("run.name = \"a\\u0000b\""), HasSubstr("zero byte"));
  EXPECT_THAT(refusal("\"a\\nb\" = 1"), HasSubstr("a\\nb"));
}

// toml++ asks of these whether they are blanks, by a switch that has no case for them.
TEST(ConfigErrors, LettersOutsideAsciiBelongInStrings) {
  EXPECT_THAT(refusal("seed = 1\nd\u00e9p\u00f4t = 2\n"),
              testing::StartsWith("run.toml:2: TOML: a character outside ASCII"));
  EXPECT_THAT(refusal("seed = 1\u00b5\n"), HasSubstr("put quotes around"));
  EXPECT_THAT(refusal("[se\u03f6rch]"), testing::StartsWith("run.toml:1: "));
  EXPECT_EQ(load("\uFEFF# \u00e9\nrun.name = \"\u00e9\" # \u00e9").name, "\u00e9");
  EXPECT_EQ(load("run.name = '''\u00e9'''''  # \u00e9").name, "\u00e9''");
  EXPECT_EQ(load("run.name = \"\"\"he said \"\u041a\"\"\"\"").name, "he said \"\u041a\"");
  // Quotes that start no string to toml++.
  EXPECT_THAT(refusal("seed = 1\nseed = -\"\u041a\""), testing::StartsWith("run.toml:2: TOML: a quote in the middle"));
  EXPECT_THAT(refusal("run.name = \"a\"'\u041a'"), HasSubstr("a quote in the middle"));
  EXPECT_EQ(refusal("seed = 1\nrun.name = \"\u041a\nseed = 1"),
            "run.toml:2: TOML: a string that is not closed on its line");
}

TEST(Config, DotsInStringsAndCommentsAreFine) {
  const std::string dots(500, '.');
  EXPECT_EQ(load("# " + dots + "\nrun.name = \"" + dots + "\"").name, dots);
  EXPECT_EQ(load("run.name = '" + dots + "' # " + dots).name, dots);
  EXPECT_EQ(load("run.name = '''" + dots + "\n'" + dots + "'''").name, dots + "\n'" + dots);
  EXPECT_EQ(load("run.name = \"\"\"\\\"" + dots + "\"\"\"").name, "\"" + dots);
  EXPECT_THAT(load("run.weights = [" + std::string("0.5, ") + std::string("0.5]")).weights, ElementsAre(0.5, 0.5));
}

TEST(ConfigOverrides, LastOneWinsOverTheFile) {
  const SampleParams params =
      load("search.width = 2", {"search.width=3", " search.width = 4 ", "search.filter.passes=5"});
  EXPECT_EQ(params.width, 4);
  EXPECT_EQ(params.passes, 5);
}

TEST(ConfigOverrides, BareWordsAreStringsForStringFields) {
  EXPECT_EQ(load("", {"run.name=hello world"}).name, "hello world");
  EXPECT_EQ(load("", {"run.name=2024"}).name, "2024");
  EXPECT_EQ(load("", {"run.name=true"}).name, "true");
  EXPECT_EQ(load("", {"run.name=a=b"}).name, "a=b");
  EXPECT_EQ(load("", {"run.name='quoted'"}).name, "quoted");
  EXPECT_EQ(load("", {"run.name=\"a\\tb\""}).name, "a\tb");
  EXPECT_EQ(load("", {"search.order=deepest"}).order, SampleOrder::kDeepest);
  EXPECT_EQ(load("", {"run.name=\"\""}).name, "");
}

TEST(ConfigOverrides, ArraysAndTablesAreTomlValues) {
  const SampleParams params = load("", {"search.sizes=[7, 8]", "run={verbose=true, tasks=['b']}"});
  EXPECT_THAT(params.sizes, ElementsAre(7, 8));
  EXPECT_TRUE(params.verbose);
  EXPECT_THAT(params.tasks, ElementsAre("b"));
}

TEST(ConfigOverrides, ErrorsNameTheOverride) {
  EXPECT_EQ(refusal("", {"search.widht=4"}),
            "--set search.widht=4: unknown key [search].widht; did you mean \"width\"?");
  EXPECT_EQ(refusal("", {"serch.width=4"}), "--set serch.width=4: unknown key serch; did you mean \"search\"?");
  EXPECT_EQ(refusal("", {"search.width=x"}),
            "--set search.width=x: \"x\" is not a TOML value for width, which is an integer");
  EXPECT_THAT(refusal("", {"search.width"}), HasSubstr("expected key=value"));
  SampleParams params;
  try {
    load_config("", {"search.width"}, params.describer(), "--other-set");
    ADD_FAILURE() << "no Error was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ("--other-set search.width: expected key=value", error.what());
  }
  EXPECT_THAT(refusal("", {"search.width="}), HasSubstr("no value"));
  EXPECT_THAT(refusal("", {"search.width=0"}), HasSubstr("--set search.width=0: [search].width: 0 is outside"));
  EXPECT_THAT(refusal("", {"search.width=4\nseed=2"}), HasSubstr("is not a TOML value"));
  EXPECT_THAT(refusal("", {"search.width.x=4"}), HasSubstr("unknown key"));
  EXPECT_THAT(refusal("", {"=4"}), HasSubstr("unknown key"));
  EXPECT_THAT(refusal("", {"search=4"}), HasSubstr("found an integer (4), expected a table"));
  EXPECT_THAT(refusal("", {"base=x.toml"}), HasSubstr("in a file only"));
  EXPECT_THAT(refusal("", {"run.name=\xff"}), HasSubstr("--set "));
}

TEST(ConfigBase, BaseFirstThenTheFileThenOverrides) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "sub");
  folder.write("root.toml", "seed = 2\n[search]\nwidth = 2\nrate = 0.2\nsizes = [1, 2, 3]\n");
  folder.write("sub/middle.toml", "base = \"../root.toml\"\n[search]\nwidth = 3\nrate = 0.3\n");
  const std::string leaf =
      folder.write("leaf.toml", "base = 'sub/middle.toml'\nsearch.width = 4\nsearch.sizes = [9]\n");
  SampleParams params;
  load_config(leaf, {"seed=5"}, params.describer());
  EXPECT_EQ(params.width, 4);
  EXPECT_EQ(params.rate, 0.3);
  EXPECT_THAT(params.sizes, ElementsAre(9));
  EXPECT_EQ(params.seed, 5);
}

std::string file_refusal(const std::string& path) {
  SampleParams params;
  try {
    load_config(path, {}, params.describer());
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput);
    return error.what();
  }
  ADD_FAILURE() << "accepted " << path;
  return "";
}

TEST(ConfigBase, TwoFilesMayShareABase) {
  const TempFolder folder;
  folder.write("root.toml", "seed = 2\n");
  const std::string leaf = folder.write("leaf.toml", "base = './root.toml'\n");
  SampleParams params;
  load_config(leaf, {}, params.describer());
  load_config(leaf, {}, params.describer());
  EXPECT_EQ(params.seed, 2);
}

TEST(ConfigBase, CyclesAreNamed) {
  const TempFolder folder;
  const std::string a = folder.write("a.toml", "base = 'b.toml'\n");
  const std::string b = folder.write("b.toml", "\nbase = './a.toml'\n");
  EXPECT_EQ(file_refusal(a), b + ":2:8: base: a config that includes itself: " + a + " -> " + b + " -> " + a);
  const std::string self = folder.write("self.toml", "base = 'self.toml'\n");
  EXPECT_THAT(file_refusal(self), HasSubstr("includes itself: " + self + " -> " + self));
}

TEST(ConfigBase, ErrorsInsideABaseNameThatFileOnly) {
  const TempFolder folder;
  const std::string root = folder.write("root.toml", "[search]\nwidth = 0\n");
  folder.write("middle.toml", "base = 'root.toml'\n");
  const std::string leaf = folder.write("leaf.toml", "base = 'middle.toml'\n");
  EXPECT_EQ(file_refusal(leaf), root + ":2:9: [search].width: 0 is outside the range: 1 to 1024 children");
}

TEST(ConfigBase, MissingOrOddBaseIsPlaced) {
  const TempFolder folder;
  const std::string leaf = folder.write("leaf.toml", "seed = 1\nbase = 'none.toml'\n");
  EXPECT_EQ(file_refusal(leaf),
            leaf + ":2:8: base: cannot read " + (folder / "none.toml").string() + ": No such file or directory");
  EXPECT_THAT(file_refusal(folder.write("odd.toml", "base = 3\n")), HasSubstr("base: found an integer (3)"));
  EXPECT_THAT(file_refusal(folder.write("void.toml", "base = ''\n")), HasSubstr("no file name"));
}

TEST(ConfigFile, MissingAndHugeFilesAreRefused) {
  const TempFolder folder;
  EXPECT_THAT(file_refusal((folder / "none.toml").string()), HasSubstr("none.toml: No such file or directory"));
  EXPECT_THAT(file_refusal(folder.write("big.toml", std::string(2 << 20, '\n'))), HasSubstr("at most 1048576"));
  EXPECT_THAT(file_refusal("/dev/zero"), HasSubstr("more than the 1048576 bytes"));
}

TEST(ConfigFile, NoPathMeansDefaultsAndOverrides) {
  SampleParams params;
  load_config("", {"search.width=5"}, params.describer());
  EXPECT_EQ(params.width, 5);
}

void expect_round_trip(SampleParams params) {
  const std::string text = dump_config(params.describer());
  SampleParams read;
  load_config_text(text, "dump.toml", {}, read.describer());
  EXPECT_EQ(read, params) << text;
}

TEST(ConfigDump, DefaultsAsText) {
  SampleParams params;
  EXPECT_EQ(dump_config(params.describer()), R"(seed = 1

[search]
width = 8
rate = 0.1
order = "frontier"
sizes = [1, 2]

[search.filter]
passes = 4

[run]
name = "run"
verbose = false
weights = [0.5]
tasks = ["a"]
anything = 0.0
)");
}

TEST(ConfigDump, RandomValuesComeBackExactly) {
  RandomStream random(1, RngPurpose::kTests, 11);
  for (int i = 0; i < 300; ++i) {
    SampleParams params;
    params.seed = static_cast<int64_t>(random.next_u64());
    params.rate = random.uniform();
    do {
      params.anything = std::bit_cast<double>(random.next_u64());
    } while (std::isnan(params.anything));
    params.weights = {random.uniform(), -random.uniform() * 1e-300};
    params.verbose = random.below(2) == 1;
    params.name.clear();
    for (uint64_t n = random.below(20); n > 0; --n) params.name += static_cast<char>(random.between(1, 127));
    if (random.below(2) == 1) params.name += "é€\"\\'𝄞";
    params.sizes.assign(random.below(4), random.between(0, 1 << 30));
    expect_round_trip(params);
  }
}

TEST(ConfigDump, ExtremesComeBackExactly) {
  for (const double value : {0.0, -0.0, 1e22, 1e-7, 5e-324, 1.7976931348623157e308, 100000.0, 123456789012345680.0,
                             std::numeric_limits<double>::infinity(), 1.0 / 3}) {
    SampleParams params;
    params.anything = value;
    const std::string text = dump_config(params.describer());
    SampleParams read;
    load_config_text(text, "dump.toml", {}, read.describer());
    EXPECT_EQ(std::bit_cast<uint64_t>(read.anything), std::bit_cast<uint64_t>(value)) << text;
  }
  SampleParams params;
  params.seed = std::numeric_limits<int64_t>::max();
  params.name = "\x01\x1f\x7f\r\n\t\b\f";
  expect_round_trip(params);
}

TEST(ConfigExplain, TellsMeaningRangeUnitChoicesAndDefault) {
  SampleParams params;
  const std::string text = explain_config(params.describer());
  EXPECT_THAT(text, HasSubstr("[search]\nHow a tree grows.\n"));
  EXPECT_THAT(text, HasSubstr("  width = 8\n      children per node\n      an integer, 1 to 1024 (children)\n"));
  EXPECT_THAT(text, HasSubstr("  order = \"frontier\"\n"));
  EXPECT_THAT(text, HasSubstr("one of \"frontier\", \"deepest\"\n"));
  EXPECT_THAT(text, HasSubstr("an array of integers, each at least 0 (tokens)\n"));
  EXPECT_THAT(text, HasSubstr("[search.filter]\nWhich problems stay.\n"));
}

TEST(ConfigSchema, WrongDescriptionsAreFailures) {
  int64_t number = 5;
  std::string word = "x";
  const auto expect_failure = [](const Describe& root, const std::string& part) {
    try {
      dump_config(root);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), kExitFailure);
      EXPECT_THAT(error.what(), HasSubstr(part));
    }
  };
  const FieldDoc plain{.key = "n", .unit = "", .meaning = "m"};
  expect_failure([&](ConfigVisitor& v) { v.field(plain, number), v.field(plain, number); }, "described twice");
  expect_failure([&](ConfigVisitor& v) { v.field({.key = "a.b", .unit = "", .meaning = "m"}, number); }, "plain TOML");
  expect_failure([&](ConfigVisitor& v) { v.field({.key = "base", .unit = "", .meaning = "m"}, number); },
                 "inheritance");
  expect_failure([&](ConfigVisitor& v) { v.field({.key = "n", .unit = "", .meaning = "m", .max = 4}, number); },
                 "its default: 5 is outside");
  expect_failure([&](ConfigVisitor& v) { v.field({.key = "n", .unit = "", .meaning = "m", .choices = {"y"}}, word); },
                 "\"x\" is none of");
}

}  // namespace
}  // namespace deepsearch
