// All traces of golden/traces.jsonl against our tree: event by event, then the end state and the advantages.
#include "golden/trace_replay.h"

#include <set>

#include <gtest/gtest.h>

namespace deepsearch::testing {

namespace {

template <class Enum>
Enum named(const Json& name, std::initializer_list<std::pair<const char*, Enum>> names) {
  for (const auto& [text, value] : names) {
    if (name == text) return value;
  }
  ADD_FAILURE() << "unknown name " << name;
  return names.begin()->second;
}

Outcome outcome_of(const std::string& answer, bool ended) {
  if (answer == "correct") return Outcome::kCorrect;
  return answer == "none" && !ended ? Outcome::kIncomplete : Outcome::kWrong;
}

bool has_tag(const Json& trace, const char* name) {
  const Json& tags = trace["differs_from_spec"];
  return std::find(tags.begin(), tags.end(), name) != tags.end();
}

Step step_of(const Json& child) {
  Step step;
  step.tokens = child["tokens"].get<std::vector<Token>>();
  step.logprobs = child["logprobs"].get<std::vector<float>>();
  step.finish = child["finish"] == "stop" ? Finish::kEos : Finish::kLength;
  return step;
}

Json scored(std::span<const Scored> candidates) {
  Json list = Json::array();
  for (const Scored& candidate : candidates) list.push_back({{"node", candidate.node}, {"score", candidate.score}});
  return list;
}

}  // namespace

SearchParams params_of_trace(const Json& trace) {
  const Json& options = trace["options"];
  SearchParams params;
  params.width = options["width"];
  params.max_depth = options["max_depth"];
  params.step_tokens = options["step_tokens"];
  params.trajectories = options["trajectories"];
  params.uct_c = options["uct_c"];
  params.gamma_min = options["gamma_min"];
  params.lambda1 = options["lambda1"];
  params.lambda2 = options["uncertainty"].get<bool>() ? options["lambda2"].get<double>() : 0.0;
  params.lambda3 = options["lambda3"];
  params.lambda4 = options["lambda4"];
  params.depth_bonus = named<DepthBonus>(options["depth_bonus"], {{"sqrt", DepthBonus::kSqrt},
                                                                  {"linear", DepthBonus::kLinear},
                                                                  {"log", DepthBonus::kLog},
                                                                  {"none", DepthBonus::kNone}});
  params.order = named<Order>(options["selection"], {{"frontier", Order::kFrontier}, {"uct", Order::kUct}});
  params.frontier_only = options["frontier_only"];
  params.incomplete_reward = options["incomplete_reward"];
  params.entropy = EntropyKind::kSampled;
  params.count_final_eos = !options["pad_is_eos"].get<bool>();
  if (!options["width_decay"].is_null()) {
    params.width_decay = true;
    params.min_width = options["width_decay"]["min_width"];
    params.decay = options["width_decay"]["decay"];
  }
  return params;
}

CreditParams credit_of_trace(const Json& trace) {
  const Json& options = trace["options"];
  CreditParams credit;
  credit.epsilon_q = options["epsilon_q"];
  credit.q_max = options["q_max"];
  credit.overlong_buffer = options["overlong"].is_null() ? 0 : options["overlong"]["buffer"].get<int64_t>();
  credit.overlong_penalty = options["overlong"].is_null() ? 0 : options["overlong"]["penalty"].get<double>();
  return resolved(credit, params_of_trace(trace));
}

void EventRecorder::on_expand(int32_t node, int32_t depth, int64_t width, std::span<const int32_t> children) {
  events.push_back({{"type", "expand"},
                    {"node", node},
                    {"depth", depth},
                    {"width", width},
                    {"children", std::vector<int32_t>(children.begin(), children.end())}});
}

void EventRecorder::on_revisit(int32_t node) {
  events.push_back({{"type", "revisit"}, {"node", node}});
}

void EventRecorder::on_terminals(std::span<const TerminalCandidate> candidates, int32_t picked) {
  Json list = Json::array();
  std::string why;
  for (const TerminalCandidate& candidate : candidates) {
    list.push_back({{"node", candidate.node},
                    {"reward", candidate.reward},
                    {"class", to_string(candidate.cls)},
                    {"entropy", candidate.entropy}});
    if (candidate.node == picked) why = to_string(candidate.cls);
  }
  events.push_back({{"type", "terminals"}, {"candidates", list}, {"picked", picked}, {"why", why}});
}

void EventRecorder::on_no_terminal() {
  events.push_back({{"type", "no_terminal"}});
}

void EventRecorder::on_visit(int32_t node, int32_t visits, double q) {
  events.push_back({{"type", "visit"}, {"node", node}, {"n", visits}, {"q", q}});
}

void EventRecorder::on_backup_row(int32_t terminal, double reward, int32_t node, double weight, int32_t visits,
                                  double q, BackupCase what) {
  path_.push_back({{"node", node}, {"weight", weight}, {"case", to_string(what)}, {"n", visits}, {"q", q}});
  if (node != terminal) return;
  events.push_back({{"type", "backup"}, {"terminal", terminal}, {"reward", reward}, {"path", path_}});
  path_ = Json::array();
}

void EventRecorder::on_select(SelectRule rule, int32_t at, std::span<const Scored> candidates, int32_t chosen) {
  Json event = {{"type", "select"}, {"candidates", scored(candidates)}, {"tied", best_is_tied(candidates)}};
  event["chosen"] = chosen < 0 ? Json() : Json(chosen);
  switch (rule) {
    case SelectRule::kLocal:
      event["rule"] = "local_uct";
      break;
    case SelectRule::kFrontier:
      event["rule"] = "frontier";
      break;
    case SelectRule::kUct:
      event["rule"] = "uct_walk";
      break;
    case SelectRule::kDeepest:
      event["rule"] = "deepest";
      break;
  }
  if (at >= 0) event["at"] = at;
  events.push_back(event);
}

void EventRecorder::on_leftover(int32_t terminal) {
  leftovers.push_back(terminal);
}

Replay replay(const Json& trace, const SearchParams& params) {
  ScriptedGenerator generator;
  std::map<int32_t, std::vector<Token>> texts = {{0, {}}};
  std::map<std::vector<Token>, std::string> answers;
  for (const Json& expansion : trace["expansions"]) {
    std::vector<Step> children;
    for (const Json& child : expansion["children"]) {
      children.push_back(step_of(child));
      std::vector<Token> text = texts.at(expansion["node"]);
      text.insert(text.end(), children.back().tokens.begin(), children.back().tokens.end());
      if (!child["answer"].is_null()) answers[text] = child["answer"];
      texts[child["id"]] = std::move(text);
    }
    generator.script(expansion["node"], std::move(children));
  }
  Replay result;
  const RuleVerifier verifier([&](TokenSpan response, bool ended) {
    const auto place = answers.find({response.begin(), response.end()});
    if (place == answers.end()) ++result.unknown_texts;
    return outcome_of(place == answers.end() ? "none" : place->second, ended);
  });
  Problem problem;
  problem.prompt_tokens = trace["prompt_tokens"].get<std::vector<Token>>();
  EventRecorder recorder;
  Tree tree(problem, {}, params, verifier, 1, 7, &recorder);
  std::vector<Expansion> came;
  while (!tree.done()) {
    while (auto request = tree.next_request()) generator.submit(std::move(*request));
    if (!generator.unanswered.empty()) {
      result.left_the_table = true;
      tree.cancel();
    }
    came.clear();
    generator.poll(came);
    for (Expansion& expansion : came) tree.apply(std::move(expansion));
  }
  result.record = tree.finish();
  result.events = std::move(recorder.events);
  result.leftovers = std::move(recorder.leftovers);
  return result;
}

namespace {

constexpr double kExact = 1e-9;

void expect_same_events(const Json& expected, const Json& actual, bool prefix) {
  ASSERT_LE(expected.size(), actual.size());
  EXPECT_TRUE(prefix || expected.size() == actual.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ("", difference(expected[i], actual[i], kExact)) << "event " << i;
  }
}

void expect_same_nodes(const Json& trace, const TreeRecord& record) {
  const Json& nodes = trace["nodes"];
  ASSERT_EQ(nodes.size(), record.nodes.size());
  std::map<int32_t, int> recorded;
  for (size_t i = 0; i < record.recorded.size(); ++i) recorded[record.recorded[i].leaf] = static_cast<int>(i);
  for (size_t i = 0; i < nodes.size(); ++i) {
    const NodeRecord& node = record.nodes[i];
    const auto place = recorded.find(static_cast<int32_t>(i));
    const Json actual = {{"id", i},
                         {"parent", node.parent < 0 ? Json() : Json(node.parent)},
                         {"depth", node.depth},
                         {"terminal", node.terminal},
                         {"recorded", place == recorded.end() ? -1 : place->second},
                         {"n", node.visits},
                         {"q", node.value}};
    EXPECT_EQ("", difference(nodes[i], actual, kExact)) << "node " << i;
  }
}

void expect_same_advantages(const Json& expected, const TreeRecord& record, CreditParams credit, Credit kind) {
  credit.credit = kind;
  for (const auto& [name, norm] : {std::pair{"none", AdvantageNorm::kNone}, std::pair{"mean", AdvantageNorm::kMean},
                                   std::pair{"mean_std", AdvantageNorm::kMeanStd}}) {
    credit.advantage_norm = norm;
    const std::vector<TrajectoryCredit> group = credit_of(record, credit);
    ASSERT_EQ(expected.size(), group.size());
    std::set<double> last_scores;
    for (const TrajectoryCredit& trajectory : group) last_scores.insert(trajectory.scores.back());
    const bool no_spread = group.size() > 1 && last_scores.size() == 1 && norm == AdvantageNorm::kMeanStd;
    for (size_t i = 0; i < group.size(); ++i) {
      const TrajectoryCredit& trajectory = group[i];
      const Json& wanted = expected[i];
      const std::vector<double> tokens = per_token(trajectory);
      EXPECT_EQ(wanted["path"], Json(trajectory.path));
      EXPECT_EQ(wanted["tokens_per_node"], Json(trajectory.path_tokens));
      EXPECT_EQ(wanted["tokens"], Json(trajectory.tokens));
      EXPECT_EQ("", difference(wanted["overlong_penalty"], trajectory.overlong_penalty, kExact));
      ASSERT_EQ(static_cast<size_t>(trajectory.tokens), tokens.size());
      if (no_spread) {
        // Section 6: the reference reaches 1e6 here, we say 0.
        EXPECT_EQ(tokens, std::vector<double>(tokens.size(), 0.0));
      } else if (kind == Credit::kNode) {
        EXPECT_EQ("", difference(wanted["node_scores"], trajectory.scores, kExact));
        EXPECT_EQ("", difference(wanted["advantages"][name], tokens, kExact)) << name;
      } else {
        // Outcome scores passed through float32 in the reference.
        EXPECT_EQ("", difference(wanted["outcome_score"], trajectory.scores.back(), 1e-6));
        if (norm == AdvantageNorm::kNone) continue;
        const double tolerance = norm == AdvantageNorm::kMeanStd ? 1e-5 : 1e-6;
        for (const double token : tokens) {
          EXPECT_TRUE(is_near(wanted["outcome_advantage"][name], token, tolerance)) << name << " " << token;
        }
      }
    }
  }
}

class Traces : public ::testing::Test {
 protected:
  static const std::vector<Json>& all() {
    static const std::vector<Json> traces = golden_lines("traces.jsonl");
    return traces;
  }
};

TEST_F(Traces, AreReproduced) {
  DEEPSEARCH_NEEDS_GOLDEN(all(), "traces.jsonl");
  int64_t compared = 0;
  for (const Json& trace : all()) {
    if (has_tag(trace, "eos_at_step_end") || has_tag(trace, "uct_walk")) continue;
    SCOPED_TRACE(trace["id"].get<std::string>());
    SearchParams params = params_of_trace(trace);
    params.classes = Classes::kReward;
    const Replay ours = replay(trace, params);
    const bool ran_dry = trace["stop"] == "assertion_no_node_left";
    EXPECT_FALSE(ours.left_the_table);
    EXPECT_EQ(0, ours.unknown_texts);
    expect_same_events(trace["events"], ours.events, ran_dry);
    EXPECT_EQ(ran_dry, has_tag(trace, "frontier_ran_dry"));
    EXPECT_EQ(ours.record.stop_reason, ran_dry ? StopReason::kExhausted : StopReason::kEnough);
    if (!ran_dry) {
      expect_same_nodes(trace, ours.record);
      expect_same_advantages(trace["trajectories"], ours.record, credit_of_trace(trace), Credit::kNode);
      expect_same_advantages(trace["trajectories"], ours.record, credit_of_trace(trace), Credit::kOutcome);
    }
    ASSERT_GE(ours.record.recorded.size(), trace["trajectories"].size());
    for (size_t i = 0; i < trace["trajectories"].size(); ++i) {
      const Json& wanted = trace["trajectories"][i];
      const RecordedLeaf& leaf = ours.record.recorded[i];
      EXPECT_EQ(wanted["node"], leaf.leaf);
      EXPECT_EQ(wanted["reward"], leaf.reward);
      EXPECT_FALSE(leaf.leftover);
      EXPECT_EQ("", difference(wanted["entropy"], leaf.entropy, kExact));
    }
    ++compared;
  }
  EXPECT_EQ(65, compared);  // of 71; the others have tests of their own below
}

// With classes by verdict, the default, everything but the names of the classes is the same; where it is not, the trace
// carries the tag "incomplete_class".
TEST_F(Traces, AreReproducedByTheDefaultClasses) {
  DEEPSEARCH_NEEDS_GOLDEN(all(), "traces.jsonl");
  const auto without_class_names = [](Json events) {
    for (Json& event : events) {
      if (event["type"] != "terminals") continue;
      event.erase("why");
      for (Json& candidate : event["candidates"]) candidate.erase("class");
    }
    return events;
  };
  int64_t compared = 0;
  for (const Json& trace : all()) {
    if (has_tag(trace, "eos_at_step_end") || has_tag(trace, "uct_walk") || has_tag(trace, "incomplete_class")) continue;
    SCOPED_TRACE(trace["id"].get<std::string>());
    const Replay ours = replay(trace, params_of_trace(trace));
    const bool ran_dry = trace["stop"] == "assertion_no_node_left";
    expect_same_events(without_class_names(trace["events"]), without_class_names(ours.events), ran_dry);
    if (!ran_dry) expect_same_nodes(trace, ours.record);
    ++compared;
  }
  EXPECT_EQ(62, compared);
}

// Where the reference asserts, the spec's ending: leftovers fill the places, best class first, lowest entropy first.
TEST_F(Traces, ThatRunDryAreFilledWithLeftovers) {
  DEEPSEARCH_NEEDS_GOLDEN(all(), "traces.jsonl");
  int64_t filled = 0;
  for (const Json& trace : all()) {
    if (!has_tag(trace, "frontier_ran_dry") || has_tag(trace, "uct_walk")) continue;
    SCOPED_TRACE(trace["id"].get<std::string>());
    const SearchParams params = params_of_trace(trace);
    const Replay ours = replay(trace, params);
    std::vector<TerminalCandidate> leftovers;
    for (const Json& leftover : trace["leftover_terminals"]) {
      if (!leftover["evaluated"].get<bool>()) continue;
      const auto& node = ours.record.nodes.at(leftover["node"].get<size_t>());
      leftovers.push_back({leftover["node"], leftover["reward"],
                           class_of(node.outcome, leftover["reward"], params.classes), leftover["entropy"]});
    }
    std::stable_sort(leftovers.begin(), leftovers.end(), [](const auto& a, const auto& b) {
      return a.cls != b.cls ? a.cls < b.cls : a.entropy < b.entropy;
    });
    const size_t places = static_cast<size_t>(params.trajectories) - trace["trajectories"].size();
    leftovers.resize(std::min(leftovers.size(), places));
    std::vector<int32_t> wanted;
    for (const auto& leftover : leftovers) wanted.push_back(leftover.node);
    EXPECT_EQ(wanted, ours.leftovers);
    EXPECT_EQ(ours.record.recorded.size(), trace["trajectories"].size() + wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) {
      const RecordedLeaf& leaf = ours.record.recorded[trace["trajectories"].size() + i];
      EXPECT_EQ(wanted[i], leaf.leaf);
      EXPECT_TRUE(leaf.leftover);
      EXPECT_EQ(1, ours.record.nodes[static_cast<size_t>(leaf.leaf)].visits);
    }
    filled += static_cast<int64_t>(wanted.size());
  }
  EXPECT_GT(filled, 0);
}

// The spec keeps wrong and incomplete apart where the reference, both being −1, does not.
TEST_F(Traces, OfOneClassDifferByDefault) {
  DEEPSEARCH_NEEDS_GOLDEN(all(), "traces.jsonl");
  int64_t seen = 0;
  for (const Json& trace : all()) {
    if (!has_tag(trace, "incomplete_class")) continue;
    SCOPED_TRACE(trace["id"].get<std::string>());
    const Replay ours = replay(trace, params_of_trace(trace));
    size_t i = 0;
    while (i < ours.events.size() && difference(trace["events"][i], ours.events[i], kExact).empty()) ++i;
    ASSERT_LT(i, ours.events.size());
    const Json& first = ours.events[i];
    ASSERT_EQ("terminals", first["type"]);
    std::string picked;
    bool confident_incomplete = false;
    for (const Json& candidate : first["candidates"]) {
      if (candidate["node"] == first["picked"]) picked = candidate["class"];
      confident_incomplete = confident_incomplete || candidate["class"] == "incomplete";
    }
    EXPECT_EQ("wrong", picked) << first;
    EXPECT_TRUE(confident_incomplete) << first;
    ++seen;
  }
  EXPECT_EQ(3, seen);
}

// The reference goes on after an end-of-sequence token that is a step's last possible one; here it is the end.
TEST_F(Traces, WithEosAtStepEndEndThere) {
  DEEPSEARCH_NEEDS_GOLDEN(all(), "traces.jsonl");
  int64_t seen = 0;
  for (const Json& trace : all()) {
    if (!has_tag(trace, "eos_at_step_end")) continue;
    SCOPED_TRACE(trace["id"].get<std::string>());
    const Replay ours = replay(trace, params_of_trace(trace));
    const auto step_tokens = trace["options"]["step_tokens"].get<int32_t>();
    const auto eos = trace["eos"].get<Token>();
    for (const NodeRecord& node : ours.record.nodes) {
      if (node.n_tokens != step_tokens) continue;
      if (ours.record.tokens[static_cast<size_t>(node.first_token + node.n_tokens - 1)] != eos) continue;
      EXPECT_TRUE(node.terminal);
      EXPECT_EQ(-1, node.expanded);
      ++seen;
    }
  }
  EXPECT_GT(seen, 1);
}

// order = "uct" goes down from the root at every iteration, where the reference compares the root's children only, and
// never handles expanded nodes again.
TEST_F(Traces, OfUctAreWalkedFromTheRoot) {
  DEEPSEARCH_NEEDS_GOLDEN(all(), "traces.jsonl");
  int64_t seen = 0;
  int64_t below_root = 0;
  for (const Json& trace : all()) {
    if (!has_tag(trace, "uct_walk")) continue;
    SCOPED_TRACE(trace["id"].get<std::string>());
    const Replay ours = replay(trace, params_of_trace(trace));
    int64_t walk_at = -1;
    for (const Json& event : ours.events) {
      EXPECT_NE("revisit", event["type"]);
      if (event["type"] != "select") {
        walk_at = -1;
        continue;
      }
      EXPECT_EQ("uct_walk", event["rule"]);
      EXPECT_EQ(walk_at < 0 ? 0 : walk_at, event["at"]);
      if (event["chosen"].is_null()) continue;
      below_root += event["at"] == 0 ? 0 : 1;
      walk_at = event["chosen"];
    }
    ++seen;
  }
  EXPECT_EQ(4, seen);
  EXPECT_GT(below_root, 0);
}

}  // namespace

}  // namespace deepsearch::testing
