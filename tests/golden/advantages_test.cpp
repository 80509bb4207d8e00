// All cases of golden/advantages.jsonl: node scores, outcome scores, groups with cached solutions, policy loss.
#include <gtest/gtest.h>

#include "golden/golden_data.h"
#include "search/credit.h"
#include "search/policy_loss.h"

namespace deepsearch::testing {

namespace {

constexpr double kExact = 1e-9;

struct NamedNorm {
  const char* name;
  AdvantageNorm norm;
};
constexpr NamedNorm kNorms[] = {
    {"none", AdvantageNorm::kNone}, {"mean", AdvantageNorm::kMean}, {"mean_std", AdvantageNorm::kMeanStd}};

CreditParams credit_of(const Json& options) {
  CreditParams credit;
  if (options.contains("epsilon_q")) {
    credit.epsilon_q = options["epsilon_q"];
    credit.q_max = options["q_max"];
  }
  const Json& overlong = options["overlong"];
  credit.overlong_buffer = overlong.is_null() ? 0 : overlong["buffer"].get<int64_t>();
  credit.overlong_penalty = overlong.is_null() ? 0 : overlong["penalty"].get<double>();
  credit.response_budget = options["response_budget"];
  return credit;
}

// A record of chains below the root: trajectory by trajectory, nodes of (q, tokens); the last is the terminal.
struct ChainNode {
  double q = 0;
  int32_t tokens = 0;
};
void add_chain(TreeRecord& record, const std::vector<ChainNode>& chain, Outcome outcome, double reward) {
  if (record.nodes.empty()) record.nodes.emplace_back();
  int32_t parent = 0;
  for (const ChainNode& link : chain) {
    NodeRecord node;
    node.parent = parent;
    node.depth = record.nodes[static_cast<size_t>(parent)].depth + 1;
    node.first_token = static_cast<int32_t>(record.tokens.size());
    node.n_tokens = link.tokens;
    node.value = link.q;
    record.tokens.resize(record.tokens.size() + static_cast<size_t>(link.tokens), 5);
    parent = static_cast<int32_t>(record.nodes.size());
    record.nodes.push_back(node);
  }
  record.nodes.back().terminal = true;
  record.nodes.back().outcome = outcome;
  record.recorded.push_back({.leaf = parent, .reward = reward, .entropy = 0, .outcome = outcome, .leftover = false});
}

Outcome outcome_of(double reward) {
  if (reward == 1.0) return Outcome::kCorrect;
  return reward == -1.0 ? Outcome::kWrong : Outcome::kIncomplete;
}

bool all_equal(const std::vector<TrajectoryCredit>& group) {
  for (const auto& trajectory : group) {
    if (trajectory.scores.back() != group.front().scores.back()) return false;
  }
  return group.size() > 1;
}

class Advantages : public ::testing::Test {
 protected:
  static std::vector<Json> cases(const std::string& kind) {
    static const std::vector<Json> all = golden_lines("advantages.jsonl");
    std::vector<Json> chosen;
    for (const Json& line : all) {
      if (line["kind"] == kind) chosen.push_back(line);
    }
    return chosen;
  }
};

void compare_nodes(const Json& group, const Json& expected, CreditParams credit) {
  TreeRecord record;
  for (const Json& trajectory : group["trajectories"]) {
    std::vector<ChainNode> chain;
    for (const Json& node : trajectory["nodes"]) chain.push_back({node["q"], node["tokens"]});
    add_chain(record, chain, outcome_of(chain.back().q), chain.back().q);
  }
  for (const NamedNorm& norm : kNorms) {
    credit.advantage_norm = norm.norm;
    const auto ours = deepsearch::credit_of(record, credit);
    ASSERT_EQ(expected["trajectories"].size(), ours.size());
    for (size_t i = 0; i < ours.size(); ++i) {
      const Json& wanted = expected["trajectories"][i];
      EXPECT_EQ("", difference(wanted["node_scores"], ours[i].scores, kExact));
      if (norm.norm == AdvantageNorm::kMeanStd && all_equal(ours)) {
        // Section 6: deviation 0 gives advantage 0, where the reference reaches 1e6.
        EXPECT_EQ(ours[i].advantages, std::vector<double>(ours[i].advantages.size(), 0.0));
        continue;
      }
      EXPECT_EQ("", difference(wanted["node_advantages"][norm.name], ours[i].advantages, kExact)) << norm.name;
      EXPECT_EQ("", difference(wanted["token_advantages"][norm.name], per_token(ours[i]), kExact)) << norm.name;
    }
  }
}

TEST_F(Advantages, OfNodeScores) {
  DEEPSEARCH_NEEDS_GOLDEN(cases("node"), "advantages.jsonl");
  EXPECT_EQ(24U, cases("node").size());
  for (const Json& line : cases("node")) {
    SCOPED_TRACE(line["id"].get<std::string>());
    for (size_t g = 0; g < line["groups"].size(); ++g) {
      compare_nodes(line["groups"][g], line["expected"][g], credit_of(line["options"]));
    }
  }
}

TEST_F(Advantages, OfOutcomeScores) {
  DEEPSEARCH_NEEDS_GOLDEN(cases("outcome"), "advantages.jsonl");
  EXPECT_EQ(8U, cases("outcome").size());
  for (const Json& line : cases("outcome")) {
    SCOPED_TRACE(line["id"].get<std::string>());
    for (size_t g = 0; g < line["groups"].size(); ++g) {
      TreeRecord record;
      record.kind = RecordKind::kRollouts;
      for (const Json& trajectory : line["groups"][g]["trajectories"]) {
        const double reward = trajectory["reward"];
        add_chain(record, {{reward, trajectory["tokens"]}}, outcome_of(reward), reward);
      }
      CreditParams credit = credit_of(line["options"]);
      credit.credit = Credit::kOutcome;
      for (const NamedNorm& norm : kNorms) {
        if (norm.norm == AdvantageNorm::kNone) continue;
        credit.advantage_norm = norm.norm;
        const auto ours = deepsearch::credit_of(record, credit);
        const double tolerance = norm.norm == AdvantageNorm::kMeanStd ? 1e-5 : 1e-6;
        for (size_t i = 0; i < ours.size(); ++i) {
          const Json& wanted = line["expected"][g]["trajectories"][i];
          EXPECT_EQ("", difference(wanted["score"], ours[i].scores.back(), 1e-6));
          EXPECT_EQ("", difference(wanted["advantage"][norm.name], ours[i].advantages.back(), tolerance)) << norm.name;
        }
      }
    }
  }
}

// Place i of the group holds cached solution i while there is one, else direct response i.
TEST_F(Advantages, OfGroupsWithCachedSolutions) {
  DEEPSEARCH_NEEDS_GOLDEN(cases("replay"), "advantages.jsonl");
  EXPECT_EQ(9U, cases("replay").size());
  for (const Json& line : cases("replay")) {
    SCOPED_TRACE(line["id"].get<std::string>());
    TreeRecord record;
    record.kind = RecordKind::kRollouts;
    const auto places = line["options"]["trajectories"].get<size_t>();
    for (size_t i = 0; i < places; ++i) {
      const bool cached = i < line["cached"].size();
      const Json& response = cached ? line["cached"][i] : line["direct"][i];
      EXPECT_EQ(line["expected"]["trajectories"][i]["source"], cached ? "cached" : "direct");
      const bool cut = response["finish"] == "length" && response["answer"] == "none";
      const bool correct = response["answer"] == "correct";
      const double reward = correct ? 1.0 : (cut ? line["options"]["incomplete_reward"].get<double>() : -1.0);
      const Outcome outcome = correct ? Outcome::kCorrect : (cut ? Outcome::kIncomplete : Outcome::kWrong);
      add_chain(record, {{reward, response["tokens"]}}, outcome, reward);
    }
    CreditParams credit = credit_of(line["options"]);
    for (const NamedNorm& norm : kNorms) {
      credit.advantage_norm = norm.norm;
      const auto ours = deepsearch::credit_of(record, credit);
      ASSERT_EQ(line["expected"]["trajectories"].size(), ours.size());
      for (size_t i = 0; i < ours.size(); ++i) {
        const Json& wanted = line["expected"]["trajectories"][i];
        const double tolerance = norm.norm == AdvantageNorm::kMeanStd ? 1e-5 : 1e-6;
        EXPECT_EQ(wanted["tokens"], ours[i].tokens);
        EXPECT_EQ("", difference(wanted["score"], ours[i].scores.back(), 1e-6));
        EXPECT_EQ("", difference(wanted["advantage"][norm.name], ours[i].advantages.back(), tolerance)) << norm.name;
      }
    }
  }
}

Aggregation aggregation_of(const std::string& name) {
  if (name == "token_mean") return Aggregation::kTokenMean;
  if (name == "seq_mean_token_sum") return Aggregation::kSeqMeanTokenSum;
  if (name == "seq_mean_token_mean") return Aggregation::kSeqMeanTokenMean;
  EXPECT_EQ("seq_mean_token_sum_norm", name);
  return Aggregation::kSeqMeanTokenSumNorm;
}

template <class T>
std::vector<T> flat(const Json& rows) {
  std::vector<T> values;
  for (const Json& row : rows) {
    for (const Json& value : row) values.push_back(value.get<T>());
  }
  return values;
}

TEST_F(Advantages, OfThePolicyLoss) {
  DEEPSEARCH_NEEDS_GOLDEN(cases("policy_loss"), "advantages.jsonl");
  EXPECT_EQ(20U, cases("policy_loss").size());
  for (const Json& line : cases("policy_loss")) {
    SCOPED_TRACE(line["id"].get<std::string>());
    const auto logp_new = flat<double>(line["logp_new"]);
    const auto logp_old = flat<double>(line["logp_old"]);
    const auto advantages = flat<double>(line["advantages"]);
    const auto mask = flat<uint8_t>(line["mask"]);
    const PolicyLoss ours = policy_loss({.rows = static_cast<int64_t>(line["mask"].size()),
                                         .columns = static_cast<int64_t>(line["mask"][0].size()),
                                         .logp_new = logp_new,
                                         .logp_old = logp_old,
                                         .advantages = advantages,
                                         .mask = mask},
                                        {.clip_low = line["options"]["clip_low"],
                                         .clip_high = line["options"]["clip_high"],
                                         .dual_clip = line["options"]["dual_clip"],
                                         .aggregation = aggregation_of(line["options"]["aggregation"])});
    const Json& wanted = line["expected"];
    EXPECT_EQ("", difference(wanted["loss"], ours.loss, kExact));
    EXPECT_EQ("", difference(wanted["clip_fraction"], ours.clip_fraction, 1e-6));
    EXPECT_EQ("", difference(wanted["dual_clip_fraction"], ours.dual_clip_fraction, 1e-6));
    EXPECT_EQ("", difference(wanted["approx_kl"], ours.approx_kl, 1e-6));
    EXPECT_EQ("", difference(flat<double>(wanted["grad_logp_new"]), ours.grad_logp_new, kExact));
  }
}

}  // namespace

}  // namespace deepsearch::testing
