#include "run/checkpoint_state.h"

#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "comm/mailbox.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/files.h"
#include "model/json_reader.h"

namespace deepsearch {

namespace {

constexpr int64_t kVersion = 1;
constexpr uint64_t kStateBytes = 64 << 20;
constexpr const char* kRoundsFile = "resume/rounds.bin";
constexpr const char* kCacheFile = "resume/replay_cache.bin";
constexpr uint64_t kTreesBytes = uint64_t{1} << 40;

// Both directions by one list, so that none forgets a field.
template <class Evaluated, class Visit>
void visit_evaluation(Evaluated& e, Visit&& visit) {
  visit("problems", e.problems);
  visit("samples", e.samples);
  visit("pass_at_1", e.pass_at_1);
  visit("pass_at_k", e.pass_at_k);
  visit("k", e.k);
  visit("reward_mean", e.reward_mean);
  visit("response_tokens_mean", e.response_tokens_mean);
  visit("truncated_fraction", e.truncated_fraction);
  visit("entropy_mean", e.entropy_mean);
}

// The problem's key is its own, and the same when it is made again.
template <class Pending, class Visit>
void visit_pending(Pending& p, Visit&& visit) {
  visit("problem", p.problem);
  visit("round", p.key.round);
  visit("step", p.key.step);
  visit("place", p.key.problem_index);
  visit("attempt", p.key.attempt);
}

template <class State, class Visit>
void visit_state(State& s, Visit&& visit) {
  visit("step", s.step);
  visit("next_problem", s.next_problem);
  visit("evaluated_step", s.evaluated_step);
  visit("tokens_generated", s.tokens_generated);
  visit("evaluation_tokens", s.evaluation_tokens);
  visit("tokens_trained", s.tokens_trained);
  visit("skipped_steps", s.skipped_steps);
  visit("learners", s.learners);
  visit("elapsed", s.elapsed);
  visit("device_seconds", s.device_seconds);
  visit("learn_seconds", s.learn_seconds);
  visit("checkpoint_seconds", s.checkpoint_seconds);
  visit("hand_over_rollout_tokens", s.hand_over.rollout_tokens);
  visit("hand_over_mixed_groups", s.hand_over.mixed_groups);
  visit("hand_over_tree_tokens", s.hand_over.tree_tokens);
  visit("hand_over_solved_trees", s.hand_over.solved_trees);
}

class Writing {
 public:
  explicit Writing(nlohmann::ordered_json& out) : out_(out) {}
  template <class Value>
  void operator()(const char* key, const Value& value) const {
    out_[key] = value;
  }

 private:
  nlohmann::ordered_json& out_;
};

class Reading {
 public:
  explicit Reading(const JsonReader& in) : in_(in) {}
  void operator()(const char* key, int64_t& value) const { value = in_.integer(key); }
  void operator()(const char* key, double& value) const {
    const std::string_view name(key);  // files of older versions lack some
    if ((name == "device_seconds" || name.starts_with("hand_over_")) && in_.find(key) == nullptr) return;
    value = in_.number(key);
  }

 private:
  const JsonReader& in_;
};

uint64_t digest_in(const JsonReader& reader, const char* key) {
  const std::string text = reader.text(key, "");
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    bad_input("{}: \"{}\" is no checksum", reader.where(), key);
  }
  return value;
}

void check_state(const RunState& state, const std::string& where) {
  for (const int64_t count : {state.step, state.next_problem, state.tokens_generated, state.evaluation_tokens,
                              state.tokens_trained, state.skipped_steps}) {
    if (count < 0) bad_input("{}: a count is {}", where, count);
  }
  if (state.evaluated_step > state.step) {
    bad_input("{}: step {} was evaluated, but only {} were done", where, state.evaluated_step, state.step);
  }
  if (state.evaluations.empty() != (state.evaluated_step < 0)) {
    bad_input("{}: {} evaluations, the last of them at step {}", where, state.evaluations.size(), state.evaluated_step);
  }
}

}  // namespace

void write_rounds(const std::filesystem::path& checkpoint, const RunState& state) {
  if (state.rounds.empty()) return;
  write_file_atomically(checkpoint / kRoundsFile, state.rounds);
  write_file_atomically(checkpoint / kCacheFile, state.cache);
}

std::string run_state_to_json(const RunState& state) {
  nlohmann::ordered_json json = {{"version", kVersion}};
  visit_state(state, Writing(json));
  json["evaluations"] = nlohmann::ordered_json::array();
  for (const Evaluation& evaluation : state.evaluations) {
    nlohmann::ordered_json entry;
    visit_evaluation(evaluation, Writing(entry));
    json["evaluations"].push_back(std::move(entry));
  }
  json["pending"] = nlohmann::ordered_json::array();
  for (const PendingTree& pending : state.pending) {
    nlohmann::ordered_json entry;
    visit_pending(pending, Writing(entry));
    json["pending"].push_back(std::move(entry));
  }
  json["start_digest"] = fmt::format("{:016x}", state.start_digest);
  json["problems_digest"] = fmt::format("{:016x}", state.problems_digest);
  json["revision"] = state.revision;
  json["config"] = state.config_text;
  return json.dump(1) + "\n";
}

RunState run_state_from_json(const std::string& text, const std::string& where) {
  const JsonReader reader = JsonReader::parse(text, where);
  if (reader.integer("version") != kVersion) {
    bad_input("{}: of format version {}, this program reads version {}", where, reader.integer("version"), kVersion);
  }
  RunState state;
  visit_state(state, Reading(reader));
  const nlohmann::json* evaluations = reader.find("evaluations");
  if (evaluations == nullptr || !evaluations->is_array()) bad_input("{}: no list of evaluations", where);
  for (const nlohmann::json& entry : *evaluations) {
    visit_evaluation(state.evaluations.emplace_back(), Reading(JsonReader(entry, where + ": evaluations")));
  }
  if (const nlohmann::json* pending = reader.find("pending")) {  // not there in files of strict runs by older versions
    if (!pending->is_array()) bad_input("{}: \"pending\" is no list", where);
    for (const nlohmann::json& entry : *pending) {
      PendingTree& one = state.pending.emplace_back();
      visit_pending(one, Reading(JsonReader(entry, where + ": pending")));
      if (one.problem < 0 || one.key.problem_index < 0) bad_input("{}: a pending problem is negative", where);
    }
  }
  state.start_digest = digest_in(reader, "start_digest");
  state.problems_digest = digest_in(reader, "problems_digest");
  state.revision = reader.text("revision", "");
  state.config_text = reader.text("config", "");
  check_state(state, where);
  return state;
}

RunState read_run_state(const std::filesystem::path& checkpoint) {
  const std::filesystem::path path = checkpoint / "resume" / "run.json";
  RunState state = run_state_from_json(read_file(path, kStateBytes), path.string());
  if (fmt::format("step-{:06}", state.step) != checkpoint.filename().string()) {
    bad_input("{}: of step {}, which is not the folder's", path.string(), state.step);
  }
  if (std::filesystem::exists(checkpoint / kRoundsFile)) {
    state.rounds = read_file(checkpoint / kRoundsFile, kTreesBytes);
    state.cache = read_file(checkpoint / kCacheFile, kTreesBytes);
  }
  return state;
}

void write_trees(const std::filesystem::path& path, const std::vector<TreeRecord>& trees) {
  AtomicFile file(path);
  for (const TreeRecord& tree : trees) {
    TreeMessage message;
    message.tree = tree;
    const std::vector<char> bytes = pack_message(message);
    const uint64_t length = bytes.size();
    file.write({reinterpret_cast<const char*>(&length), sizeof length});
    file.write({bytes.data(), bytes.size()});
  }
  file.publish();
}

std::vector<TreeRecord> read_trees(const std::filesystem::path& path) {
  const std::string bytes = read_file(path, kTreesBytes);
  std::vector<TreeRecord> trees;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t length = 0;
    const size_t left = bytes.size() - at;
    if (left >= sizeof length) std::memcpy(&length, bytes.data() + at, sizeof length);
    if (left < sizeof length || length > left - sizeof length) {
      bad_input("{}: ends within tree {}", path.string(), trees.size());
    }
    at += sizeof length;
    try {
      AnyMessage message = unpack_message(bytes.data() + at, length);
      auto* tree = std::get_if<TreeMessage>(&message);
      if (tree == nullptr) failure("another kind of message");
      trees.push_back(std::move(tree->tree));
    } catch (const MessageVersionError& error) {
      throw MessageVersionError(
          error.found(), error.wanted(),
          fmt::format("{}: of version {}, this program reads version {}", path.string(), error.found(), error.wanted()),
          kExitBadInput);
    } catch (const Error& error) {
      bad_input("{}: tree {}: {}", path.string(), trees.size(), error.what());
    }
    at += length;
  }
  return trees;
}

}  // namespace deepsearch
