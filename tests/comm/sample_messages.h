// One message of each kind, with every field away from its default.
#pragma once

#include <vector>

#include "comm/mailbox.h"

namespace deepsearch::testing {

inline Problem sample_problem() {
  return {.id = "p-17",
          .source = "bag",
          .prompt = "1 2 3 → 6",
          .answer = "1 + 2 + 3",
          .prompt_tokens = {5, 6, 7},
          .key = 99};
}

inline TreeRecord sample_tree() {
  TreeRecord tree;
  tree.kind = RecordKind::kRollouts;
  tree.key = {.round = 1, .step = 2, .problem_index = 3, .problem_key = 4, .attempt = 5};
  tree.problem = sample_problem();
  tree.policy_version = 8;
  tree.stop_reason = StopReason::kEnough;
  tree.iterations = 9;
  tree.tokens_generated = 10;
  tree.tokens_prefilled = 11;
  tree.seconds = 1.25;
  tree.seconds_generating = 1.0;
  tree.made_by_rank = 2;
  for (int i = 0; i < 4; ++i) {
    NodeRecord node;
    node.parent = i - 1;
    node.depth = i;
    node.first_token = i == 0 ? 0 : 2 * (i - 1);
    node.n_tokens = i == 0 ? 0 : 2;
    node.visits = 7 - i;
    node.value = -0.5 * i;
    node.entropy = 0.25 * i;
    node.logprob = -1.5 * i;
    node.terminal = i == 3;
    node.outcome = i == 3 ? Outcome::kWrong : Outcome::kNone;
    node.created = i;
    node.expanded = i == 3 ? -1 : i + 1;
    node.made_by_rank = 1;
    tree.nodes.push_back(node);
  }
  tree.tokens = {10, 11, 12, 13, 14, 15};
  tree.token_versions = {4, 4, 4, 5, 5, 5};
  tree.logprobs = {-0.1F, -0.2F, -0.3F, -0.4F, -0.5F, -0.6F};
  tree.entropies = {0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F};
  RecordedLeaf leaf;
  leaf.leaf = 3;
  leaf.reward = -1;
  leaf.entropy = 0.35;
  leaf.outcome = Outcome::kWrong;
  leaf.leftover = true;
  tree.recorded = {leaf};
  tree.events = {{.iteration = 1, .kind = EventKind::kExpand, .node = 0, .score = 8},
                 {.iteration = 9, .kind = EventKind::kStop, .node = -1, .score = 1}};
  return tree;
}

inline std::vector<AnyMessage> sample_messages() {
  AssignMessage assign;
  assign.policy_version = 12;
  for (int i = 0; i < 3; ++i) {
    AssignMessage::Item item;
    item.key = {.round = 1, .step = i, .problem_index = 3, .problem_key = 4, .attempt = 0};
    item.problem = sample_problem();
    item.work = AssignMessage::Work::kEvaluate;
    item.samples = 4;
    item.temperature = 0.6;
    item.top_p = 0.95;
    assign.items.push_back(item);
  }
  TreeMessage tree;
  tree.work = AssignMessage::Work::kGroup;
  tree.tree = sample_tree();
  WeightsMessage weights;
  weights.policy_version = 3;
  weights.precision = WeightsMessage::Precision::kBf16;
  weights.bytes = int64_t{3} << 32;
  HeartbeatMessage heartbeat;
  heartbeat.host = "n07";
  heartbeat.phase = "searching";
  heartbeat.phase_seconds = 2.5;
  heartbeat.trees_done = 6;
  heartbeat.tokens_generated = 7000;
  heartbeat.busy_seconds = 1.5;
  heartbeat.operation = "MPI_Ibcast with learner 0";
  heartbeat.operation_seconds = 0.75;
  ControlMessage control;
  control.command = ControlMessage::Command::kStop;
  control.why = "enough";
  ReportMessage report;
  report.trees = 4;
  report.tokens_generated = 5;
  report.tokens_prefilled = 6;
  report.tokens_recomputed = 1;
  report.prefix_tokens = 60;
  report.nodes_evicted = 2;
  report.kv_bytes_peak = 4096;
  report.expansions_lent = 12;
  report.expansions_helped = 13;
  report.phases = {"search", "wait"};
  report.phase_seconds = {1.0, 2.0};
  report.error = "none";
  LoadMessage load;
  load.load = {.own_requests = 2, .own_sequences = 16, .here = 9};
  ShareMessage share;
  share.helper = 4;
  share.on = false;
  share.helper_load = 3;
  ExpandMessage expand;
  expand.shared.known_tokens = 2;
  expand.shared.min_version = 5;
  expand.shared.request = {.tree = 77,
                           .node = 6,
                           .path = {{.node = 0, .n_tokens = 2}, {.node = 6, .n_tokens = 3}},
                           .prefix = {1, 2, 3},
                           .n_children = 4,
                           .first_child = 11,
                           .max_tokens = 16,
                           .temperature = 0.5F,
                           .top_p = 0.9F,
                           .distinct = true,
                           .sampling_key = 12345};
  ExpandedMessage expanded;
  expanded.expansion.tree = 77;
  expanded.expansion.node = 6;
  expanded.expansion.tokens_generated = 8;
  expanded.expansion.tokens_prefilled = 5;
  expanded.expansion.made_by_rank = 4;
  expanded.expansion.children.push_back({.tokens = {7, 8},
                                         .logprobs = {-0.5F, -0.25F},
                                         .entropies = {0.75F, 0.5F},
                                         .finish = Finish::kEos,
                                         .policy_version = 6,
                                         .token_versions = {5, 6}});
  ForgetMessage forget;
  forget.tree = 77;
  CancelMessage cancel;
  cancel.keys = {{.round = 1, .step = 2, .problem_index = 3, .problem_key = 4, .attempt = 5}};
  return {assign, tree, weights, heartbeat, control, report, load, share, expand, expanded, forget, cancel};
}

}  // namespace deepsearch::testing
