// Every complaint about a tokenizer.json is one line with the file and the path, and exit code 2.
#include <functional>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "sample_tokenizers.h"

namespace deepsearch {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::json;
using ::testing::Not;
using ::testing::StartsWith;

std::string complaint_about(const std::string& text) {
  try {
    parse_tokenizer(text, "dir/tokenizer.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitBadInput) << error.what();
    return error.what();
  }
  return "accepted";
}

struct Damage {
  const char* what;
  std::function<void(json&)> apply;
  const char* expected;
};

void set_regex(json& file, const char* text) {
  file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = text;
}

const std::vector<Damage>& damages() {
  static const std::vector<Damage> all = {
      {"no model", [](json& f) { f.erase("model"); }, "key \"model\" is missing"},
      {"model is a list", [](json& f) { f["model"] = json::array(); }, "model: must be an object, found a list"},
      {"unigram", [](json& f) { f["model"]["type"] = "Unigram"; }, "model: type \"Unigram\" is not supported"},
      {"word piece", [](json& f) { f["model"]["type"] = "WordPiece"; }, "model: type \"WordPiece\" is not supported"},
      {"no vocab", [](json& f) { f["model"].erase("vocab"); }, "model: key \"vocab\" is missing"},
      {"negative id", [](json& f) { f["model"]["vocab"]["a"] = -1; }, "model.vocab.a: an id is a whole number"},
      {"huge id", [](json& f) { f["model"]["vocab"]["a"] = 1 << 24; }, "model.vocab.a: an id is a whole number"},
      {"an id twice", [](json& f) { f["model"]["vocab"]["b"] = 97; }, "id 97 is already that of"},
      {"half a merge", [](json& f) { f["model"]["merges"][1] = "he"; }, "model.merges[1]: a merge is two tokens"},
      {"three tokens", [](json& f) { f["model"]["merges"][1] = "h e l"; }, "model.merges[1]: a merge is two tokens"},
      {"a number",
       [](json& f) {
         f["model"]["merges"][1] = {1, 2};
       },
       "model.merges[1]: a merge is two tokens"},
      {"unknown left", [](json& f) { f["model"]["merges"][1] = "xx e"; }, "merges[1]: \"xx\" is not in the vocabulary"},
      {"unknown sum", [](json& f) { f["model"]["merges"][1] = "e h"; }, "merges[1]: \"eh\" is not in the vocabulary"},
      {"dropout", [](json& f) { f["model"]["dropout"] = 0.1; }, "model.dropout: is not supported"},
      {"flag", [](json& f) { f["model"]["ignore_merges"] = 1; }, "model.ignore_merges: must be true or false, found 1"},
      {"normalizer",
       [](json& f) {
         f["normalizer"] = {{"type", "Nmt"}};
       },
       "normalizer.type: must be one of Sequence"},
      {"pre-tokenizer", [](json& f) { f["pre_tokenizer"]["type"] = "X"; }, "pre_tokenizer.type: must be one of"},
      {"behavior", [](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Gone"; },
       "pre_tokenizer.pretokenizers[0].behavior: must be one of Removed"},
      {"open group", [](json& f) { set_regex(f, "(a"); }, "pattern.Regex: regular expression does not compile"},
      {"bad set", [](json& f) { set_regex(f, "[a"); }, "a set without an end at byte 2 is not supported"},
      {"recursion", [](json& f) { set_regex(f, "(?R)"); }, "this kind of group"},
      {"verb", [](json& f) { set_regex(f, "(*LIMIT_MATCH=1)a"); }, "\"(*\" at byte 0 is not supported"},
      {"set operation", [](json& f) { set_regex(f, "[a&&b]"); }, "&& in a set"},
      {"script", [](json& f) { set_regex(f, "\\p{Klingon}"); }, "regular expression does not compile"},
      {"decoder", [](json& f) { f["decoder"]["type"] = "WordPiece"; }, "decoder.type: must be one of"},
      {"added token", [](json& f) { f["added_tokens"][0].erase("content"); }, "added_tokens[0]: key \"content\""},
      {"renumbered", [](json& f) { f["added_tokens"][0]["id"] = 300; }, "added_tokens[0]: id 300, but this token's"},
      {"comes twice", [](json& f) { f["added_tokens"].push_back(f["added_tokens"][0]); },
       "added_tokens[1]: content appears twice"},
      {"template", [](json& f) { f["post_processor"]["single"][0]["SpecialToken"]["id"] = "?"; },
       "post_processor.single[0].SpecialToken.id: is not among special_tokens"},
  };
  return all;
}

TEST(BadFile, SaysWhatIsWrongAndWhere) {
  ASSERT_EQ(complaint_about(testing::byte_level_json().dump()), "accepted");
  for (const Damage& damage : damages()) {
    SCOPED_TRACE(damage.what);
    json file = testing::byte_level_json();
    damage.apply(file);
    EXPECT_THAT(complaint_about(file.dump()),
                AllOf(StartsWith("dir/tokenizer.json: "), HasSubstr(damage.expected), Not(HasSubstr("\n"))));
  }
}

TEST(BadFile, NotJsonOrWithoutBounds) {
  EXPECT_THAT(complaint_about(""), HasSubstr("not JSON in UTF-8"));
  EXPECT_THAT(complaint_about("{\"model\": \"\xFF\"}"), HasSubstr("not JSON in UTF-8"));
  EXPECT_THAT(complaint_about(R"({"a": 5e999})"), HasSubstr("a number that is out of range"));
  EXPECT_THAT(complaint_about(R"({"a": 1, "a": 2})"), HasSubstr("key \"a\" appears twice"));
  EXPECT_THAT(complaint_about(std::string(100000, '[')), HasSubstr("nested more than 32 levels deep"));
  EXPECT_THAT(complaint_about("[]"), HasSubstr("must be an object, found a list"));
}

TEST(BadFile, MutationsAreReadOrRefused) {
  std::mt19937 rng(11);
  const std::vector<std::string> files = {testing::byte_level_json().dump(), testing::sentence_piece_json().dump(),
                                          testing::metaspace_json().dump()};
  const std::vector<std::string> parts = {"null", "{}", "[]", "-1", "1e9", "\"", "true", "\\u0000", "(", "99999999"};
  size_t n_accepted = 0;
  for (int round = 0; round < 600; ++round) {
    std::string text = files[rng() % files.size()];
    // Most of a file is vocabulary; the structure is around it.
    const size_t at =
        rng() % 3 == 0 ? rng() % text.size() : (rng() % 2 == 0 ? rng() % 800 : text.size() - 1 - rng() % 1500);
    const size_t n = std::min<size_t>(rng() % 12, text.size() - at);
    text.replace(at, n, rng() % 2 == 0 ? parts[rng() % parts.size()] : std::string(1, static_cast<char>(rng())));
    const std::string complaint = complaint_about(text);
    EXPECT_THAT(complaint, Not(HasSubstr("\n")));
    if (complaint == "accepted") ++n_accepted;
  }
  EXPECT_LT(n_accepted, 300U);
}

}  // namespace
}  // namespace deepsearch
