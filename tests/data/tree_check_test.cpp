#include "data/tree_check.h"

#include <functional>
#include <map>

#include <gmock/gmock.h>

namespace deepsearch {
namespace {

using ::testing::HasSubstr;

TreeRecord sound() {
  TreeRecord tree;
  tree.tokens = {7, 8};
  tree.logprobs = {-0.5F, -0.25F};
  tree.entropies = {0.1F, 0.2F};
  tree.token_versions = {0, 0};
  tree.nodes.resize(2);
  tree.nodes[0].parent = -1;
  tree.nodes[1].parent = 0;
  tree.nodes[1].n_tokens = 2;
  tree.nodes[1].outcome = Outcome::kCorrect;
  tree.recorded.push_back({.leaf = 1, .outcome = Outcome::kCorrect});
  tree.events.push_back({.node = 1});
  tree.events.push_back({.kind = EventKind::kStop, .node = -1});
  return tree;
}

TEST(TreeCheck, ASoundRecordIsSoundWithAndWithoutItsColumns) {
  TreeRecord tree = sound();
  EXPECT_EQ(contradiction(tree, Columns::kAll), "");
  tree.entropies.clear();
  tree.token_versions.clear();
  EXPECT_EQ(contradiction(tree, Columns::kSomeLeftOut), "");
  EXPECT_EQ(contradiction(tree, Columns::kAll), "2 tokens, 2 log-probabilities, 0 entropies and 0 policy versions");
  EXPECT_EQ(contradiction({}, Columns::kAll), "");
}

TEST(TreeCheck, EveryContradictionIsSaid) {
  const std::map<std::string, std::function<void(TreeRecord&)>> wrongs = {
      {"kind of record", [](TreeRecord& t) { t.kind = static_cast<RecordKind>(9); }},
      {"stop reason", [](TreeRecord& t) { t.stop_reason = static_cast<StopReason>(99); }},
      {"2 tokens, 1 log-prob", [](TreeRecord& t) { t.logprobs.pop_back(); }},
      {"2 policy versions", [](TreeRecord& t) { t.tokens.push_back(1); }},
      {"node 0 has the parent 0", [](TreeRecord& t) { t.nodes[0].parent = 0; }},
      {"node 1 has the parent 1", [](TreeRecord& t) { t.nodes[1].parent = 1; }},
      {"node 1 has the parent -1", [](TreeRecord& t) { t.nodes[1].parent = -1; }},
      {"node 1 has tokens 1 + 2", [](TreeRecord& t) { t.nodes[1].first_token = 1; }},
      {"node 1 has tokens 2147483647 + 2", [](TreeRecord& t) { t.nodes[1].first_token = 2147483647; }},
      {"node 1 has tokens 0 + -1", [](TreeRecord& t) { t.nodes[1].n_tokens = -1; }},
      {"node 1 has an unknown outcome", [](TreeRecord& t) { t.nodes[1].outcome = static_cast<Outcome>(77); }},
      {"recorded leaf 2 is no node", [](TreeRecord& t) { t.recorded[0].leaf = 2; }},
      {"recorded leaf -1 is no node", [](TreeRecord& t) { t.recorded[0].leaf = -1; }},
      {"recorded leaf 1 has an unknown", [](TreeRecord& t) { t.recorded[0].outcome = static_cast<Outcome>(77); }},
      {"for no reason", [](TreeRecord& t) { t.recorded[0].dropped = static_cast<Dropped>(77); }},
      {"kind of event", [](TreeRecord& t) { t.events[0].kind = static_cast<EventKind>(77); }},
      {"an event's node 2", [](TreeRecord& t) { t.events[0].node = 2; }},
      {"an event's node -2", [](TreeRecord& t) { t.events[0].node = -2; }},
  };
  for (const auto& [text, spoil] : wrongs) {
    TreeRecord tree = sound();
    spoil(tree);
    EXPECT_THAT(contradiction(tree, Columns::kSomeLeftOut), HasSubstr(text));
  }
}

}  // namespace
}  // namespace deepsearch
