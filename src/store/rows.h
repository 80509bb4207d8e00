// One struct a table line (row), and for each a list of its fields: name on disk, member, units, description. The list
// is the only place where a column is named: schema, writer and reader all go through it. Internal to store/.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "data/tree_record.h"
#include "store/schema.h"

namespace deepsearch {

template <class Row, class T>
struct Field {
  const char* name;
  T Row::*member;
  const char* units;
  const char* description;
};
template <class Row, class T>
Field(const char*, T Row::*, const char*, const char*) -> Field<Row, T>;

template <size_t N>
using FixedText = std::array<char, N>;  // UTF-8, padded with zeros

// Copies as much of `text` as fits without cutting a UTF-8 character in two.
template <size_t N>
FixedText<N> fixed_text(const std::string& text) {
  FixedText<N> fixed{};
  size_t size = std::min(N, text.size());
  if (size < text.size()) {
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  }
  std::copy_n(text.begin(), size, fixed.begin());
  return fixed;
}
template <size_t N>
std::string to_text(const FixedText<N>& fixed) {
  return std::string(fixed.begin(), std::find(fixed.begin(), fixed.end(), '\0'));
}

// Names of an enum's values as they appear on disk, by value.
inline std::vector<std::string> choices_of(Outcome) {
  return {"correct", "wrong", "incomplete"};  // and none = 255, which every list of outcomes has
}
inline std::vector<std::string> choices_of(RecordKind) {
  return {"tree", "rollouts", "replay", "branch"};
}
inline std::vector<std::string> choices_of(Dropped) {
  return {"no", "repetition", "garbled"};
}
inline std::vector<std::string> choices_of(StopReason) {
  return {"running", "enough", "exhausted", "budget", "solved", "cancelled"};
}
inline std::vector<std::string> choices_of(EventKind) {
  return {"expand",     "pick",           "backup",   "select_local", "select_frontier",
          "select_uct", "select_deepest", "leftover", "stop"};
}

template <class T>
struct IsFixedText : std::false_type {};
template <size_t N>
struct IsFixedText<FixedText<N>> : std::true_type {};

template <class T>
ColumnSchema column_of(const char* name, const char* units, const char* description) {
  ColumnSchema column{name, ColumnKind::kFloat64, sizeof(T), {}, units, description};
  if constexpr (std::is_same_v<T, bool>) {
    static_assert(sizeof(bool) == 1);
    column.kind = ColumnKind::kBool;
  } else if constexpr (std::is_enum_v<T>) {
    static_assert(sizeof(T) == 1);
    column.kind = ColumnKind::kEnum;
    column.choices = choices_of(T{});
    if constexpr (std::is_same_v<T, Outcome>) {
      column.choices.resize(256);
      column.choices.back() = "none";
    }
  } else if constexpr (IsFixedText<T>::value) {
    column.kind = ColumnKind::kText;
  } else if constexpr (std::is_same_v<T, uint8_t>) {
    column.kind = ColumnKind::kUint8;
  } else if constexpr (std::is_same_v<T, int32_t>) {
    column.kind = ColumnKind::kInt32;
  } else if constexpr (std::is_same_v<T, int64_t>) {
    column.kind = ColumnKind::kInt64;
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    column.kind = ColumnKind::kUint64;
  } else if constexpr (std::is_same_v<T, float>) {
    column.kind = ColumnKind::kFloat32;
  } else {
    static_assert(std::is_same_v<T, double>);
  }
  return column;
}

struct TreeLine {
  RecordKind kind = RecordKind::kTree;
  int64_t round = 0, step = 0, problem_index = 0, attempt = 0;
  uint64_t problem_key = 0;
  int64_t problem = 0;
  int64_t policy_version = 0;
  StopReason stop_reason = StopReason::kRunning;
  int32_t iterations = 0;
  int64_t tokens_generated = 0, tokens_prefilled = 0;
  double seconds = 0, seconds_generating = 0;
  int32_t made_by_rank = 0;
  int32_t max_depth = 0;
  int64_t n_correct = 0;
  double mean_reward = 0;
  int64_t first_node = 0, n_nodes = 0, first_token = 0, n_tokens = 0;
  int64_t first_recorded = 0, n_recorded = 0, first_event = 0, n_events = 0;

  // n_events stays last: it is published after everything else (store/part_writer.cpp).
  static constexpr auto fields() {
    using R = TreeLine;
    return std::make_tuple(
        Field{"kind", &R::kind, "",
              "a searched tree, a group of plain rollouts (branches at the root only), one with cached solutions in "
              "it, or rollouts from a place on the way of a found solution"},
        Field{"round", &R::round, "", "round of filter, search and learning"},
        Field{"step", &R::step, "", "optimisation step the tree was grown for"},
        Field{"problem_index", &R::problem_index, "", "place in the step's batch"},
        Field{"attempt", &R::attempt, "", "refills and repeats of the problem within the step"},
        Field{"problem_key", &R::problem_key, "", "hash of source and prompt: names the problem in every file"},
        Field{"problem", &R::problem, "row of /problems", "the problem"},
        Field{"policy_version", &R::policy_version, "optimisation steps", "policy that sampled the tree"},
        Field{"stop_reason", &R::stop_reason, "", "why the tree ended"},
        Field{"iterations", &R::iterations, "", "expansions"},
        Field{"tokens_generated", &R::tokens_generated, "tokens", "sampled, discarded ones included"},
        Field{"tokens_prefilled", &R::tokens_prefilled, "tokens", "prompt and prefix tokens computed without sampling"},
        Field{"seconds", &R::seconds, "s", "wall time from the first request to the end"},
        Field{"seconds_generating", &R::seconds_generating, "s", "of these, waiting for or inside the generator"},
        Field{"made_by_rank", &R::made_by_rank, "", "world rank that owned the tree"},
        Field{"max_depth", &R::max_depth, "nodes", "depth of the deepest node; the root has 0"},
        Field{"n_correct", &R::n_correct, "trajectories", "recorded trajectories that are correct"},
        Field{"mean_reward", &R::mean_reward, "", "mean reward of the recorded trajectories (mu); NaN without any"},
        Field{"first_node", &R::first_node, "row of /nodes", "the root; node ids of the tree count from here"},
        Field{"n_nodes", &R::n_nodes, "nodes", "nodes, the root included"},
        Field{"first_token", &R::first_token, "row of /tokens", "first token of the tree"},
        Field{"n_tokens", &R::n_tokens, "tokens", "tokens of all nodes"},
        Field{"first_recorded", &R::first_recorded, "row of /recorded", "first recorded trajectory"},
        Field{"n_recorded", &R::n_recorded, "trajectories", "recorded trajectories"},
        Field{"first_event", &R::first_event, "row of /events", "first event"},
        Field{"n_events", &R::n_events, "events", "events; published last, so a row counts once this column has it"});
  }
};

struct NodeLine : NodeRecord {
  int64_t tree = 0;
  int64_t token_row = 0;  // NodeRecord::first_token counts within the tree, this one over the file

  static constexpr auto fields() {
    using R = NodeLine;
    return std::make_tuple(
        Field{"tree", &R::tree, "row of /trees", "the node's tree"},
        Field{"parent", &R::parent, "node id", "parent within the tree, -1 for the root"},
        Field{"depth", &R::depth, "nodes", "d(s); the root has 0"},
        Field{"first_token", &R::token_row, "row of /tokens", "first token of the step"},
        Field{"n_tokens", &R::n_tokens, "tokens", "tokens of the step; the root has none"},
        Field{"visits", &R::visits, "", "N(s) when the tree was finished"},
        Field{"value", &R::value, "", "q(s), accumulated, when the tree was finished"},
        Field{"entropy", &R::entropy, "nats per token", "H(s), by [search].entropy"},
        Field{"logprob", &R::logprob, "nats", "sum over the step's tokens under the policy that sampled them"},
        Field{"terminal", &R::terminal, "", "ended by end-of-sequence, depth or step check"},
        Field{"outcome", &R::outcome, "", "the verifier's word on a terminal, none otherwise"},
        Field{"created", &R::created, "iteration", "expansion that made the node"},
        Field{"expanded", &R::expanded, "iteration", "first expansion of the node, -1 never"},
        Field{"made_by_rank", &R::made_by_rank, "", "world rank that sampled the step"});
  }
};

struct TokenLine {
  Token id = 0;
  float logprob = 0;
  float entropy = 0;
  int32_t policy_version = 0;

  static constexpr auto fields() {
    using R = TokenLine;
    return std::make_tuple(
        Field{"id", &R::id, "", "token id of the policy's vocabulary"},
        Field{"logprob", &R::logprob, "nats", "behaviour log-probability: full softmax at the sampling temperature"},
        Field{"entropy", &R::entropy, "nats", "entropy of that softmax at the position"},
        Field{"policy_version", &R::policy_version, "", "policy version that made the token"});
  }
};

struct RecordedLine : RecordedLeaf {
  int64_t tree = 0;

  static constexpr auto fields() {
    using R = RecordedLine;
    return std::make_tuple(
        Field{"tree", &R::tree, "row of /trees", "the trajectory's tree"},
        Field{"leaf", &R::leaf, "node id", "terminal the trajectory ends in, within the tree"},
        Field{"reward", &R::reward, "",
              "of the terminal, before any overlong penalty; subtract trees.mean_reward for the group-relative one"},
        Field{"entropy", &R::entropy, "nats per token", "mean over the trajectory's tokens"},
        Field{"outcome", &R::outcome, "", "the verifier's word"},
        Field{"leftover", &R::leftover, "", "filled a place after the frontier ran dry"},
        Field{"cached", &R::cached, "", "a solution from the replay cache, not sampled for this tree"},
        Field{"dropped", &R::dropped, "", "why the safeguard kept it out of the loss"});
  }
};

struct EventLine : SearchEvent {
  int64_t tree = 0;

  static constexpr auto fields() {
    using R = EventLine;
    return std::make_tuple(
        Field{"tree", &R::tree, "row of /trees", "the event's tree"},
        Field{"iteration", &R::iteration, "", "expansion during which it happened"},
        Field{"kind", &R::kind, "", "what happened"},
        Field{"node", &R::node, "node id", "whom it happened to, within the tree; -1 for the tree"},
        Field{
            "score", &R::score, "",
            "expand: children made; pick, backup, leftover: reward; select_*: the score that won; stop: stop_reason"});
  }
};

struct ProblemLine {
  uint64_t key = 0;
  FixedText<64> id{};
  FixedText<32> source{};
  FixedText<256> prompt{};
  FixedText<64> answer{};
  int64_t first_byte = 0, id_bytes = 0, source_bytes = 0, prompt_bytes = 0, answer_bytes = 0;
  int64_t first_token = 0, n_tokens = 0;

  static constexpr auto fields() {
    using R = ProblemLine;
    return std::make_tuple(
        Field{"key", &R::key, "", "hash of source and prompt; held out from training where key % 8 == 0"},
        Field{"id", &R::id, "", "name within its source, at most 64 bytes of it"},
        Field{"source", &R::source, "", "task or data set, at most 32 bytes of it"},
        Field{"prompt", &R::prompt, "", "beginning of the prompt, at most 256 bytes"},
        Field{"answer", &R::answer, "", "beginning of the true answer, at most 64 bytes"},
        Field{"first_byte", &R::first_byte, "row of /problem_text", "whole texts: id, source, prompt, answer in turn"},
        Field{"id_bytes", &R::id_bytes, "bytes", "length of the whole id"},
        Field{"source_bytes", &R::source_bytes, "bytes", "length of the whole source"},
        Field{"prompt_bytes", &R::prompt_bytes, "bytes", "length of the whole prompt"},
        Field{"answer_bytes", &R::answer_bytes, "bytes", "length of the whole answer"},
        Field{"first_token", &R::first_token, "row of /problem_tokens", "first token of the prompt"},
        Field{"n_tokens", &R::n_tokens, "tokens", "tokens of the prompt"});
  }
};

// run.h5 knows more about a problem than a part does.
struct RunProblemLine : ProblemLine {
  FixedText<16> split{};
  double base_pass_rate = std::numeric_limits<double>::quiet_NaN();

  static constexpr auto fields() {
    using R = RunProblemLine;
    return std::tuple_cat(
        ProblemLine::fields(),
        std::make_tuple(Field{"split", &R::split, "", "train, test, …"},
                        Field{"base_pass_rate", &R::base_pass_rate, "fraction",
                              "of the filter's samples that were correct at the run's start; NaN when not measured"}));
  }
};

struct ProblemTextLine {
  uint8_t byte = 0;
  static constexpr auto fields() {
    return std::make_tuple(Field{"byte", &ProblemTextLine::byte, "", "UTF-8, problem after problem"});
  }
};

struct ProblemTokenLine {
  Token id = 0;
  static constexpr auto fields() {
    return std::make_tuple(Field{"id", &ProblemTokenLine::id, "", "prompt tokens, problem after problem"});
  }
};

struct RankLine {
  int32_t rank = 0;
  FixedText<16> role{};
  FixedText<128> host{};

  static constexpr auto fields() {
    using R = RankLine;
    return std::make_tuple(Field{"rank", &R::rank, "", "world rank"},
                           Field{"role", &R::role, "", "search, learner, both"},
                           Field{"host", &R::host, "", "host name"});
  }
};

// Calls f(field, column index) for every field of Row.
template <class Row, class F>
void for_each_field(F&& f) {
  std::apply(
      [&](const auto&... field) {
        size_t index = 0;
        (f(field, index++), ...);
      },
      Row::fields());
}

template <class Row>
std::vector<ColumnSchema> columns_of() {
  std::vector<ColumnSchema> columns;
  for_each_field<Row>([&]<class Owner, class T>(const Field<Owner, T>& field, size_t) {
    columns.push_back(column_of<T>(field.name, field.units, field.description));
  });
  return columns;
}

}  // namespace deepsearch
