// What a run is at a step boundary, apart from the learners' parameters and moments; and the finished trees of the step
// after it. resume/run.json and resume/trees.bin of a checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/tree_record.h"
#include "run/evaluation.h"
#include "schedule/hand_over.h"

namespace deepsearch {

// A problem that was begun and not used: number in the training split, and the key of its tree.
struct PendingTree {
  int64_t problem = 0;
  TreeKey key;
  bool operator==(const PendingTree&) const = default;
};

struct RunState {
  int64_t step = 0;          // done; also the policy version
  int64_t next_problem = 0;  // index in the training split
  int64_t evaluated_step = -1;
  int64_t tokens_generated = 0;   // evaluations included
  int64_t evaluation_tokens = 0;  // not part of a run's cost
  int64_t tokens_trained = 0;
  int64_t skipped_steps = 0;
  int64_t learners = 1;  // ranks that sum gradients
  std::vector<Evaluation> evaluations = {};
  std::vector<PendingTree> pending = {};  // [learn].max_staleness > 0: begun before the boundary
  HandOver::Tally hand_over = {};         // [search].hand_over_gain
  double elapsed = 0;                     // seconds, all attempts
  double device_seconds = 0;              // … times the ranks of each
  // Measured, so that the next attempt knows before it has measured any.
  double learn_seconds = 0;
  double checkpoint_seconds = 0;
  std::string config_text = {};
  std::string revision = {};
  uint64_t start_digest = 0;     // of the base policy's values
  uint64_t problems_digest = 0;  // of the problem files
  // Where rounds stand, and their cache: resume/rounds.bin and resume/replay_cache.bin. "": no rounds.
  std::string rounds = {};
  std::string cache = {};
};

std::string run_state_to_json(const RunState& state);
// bad_input ("WHERE: …") for anything but what the function above writes.
RunState run_state_from_json(const std::string& text, const std::string& where);
// The rounds' files of a checkpoint that is being written; none without rounds.
void write_rounds(const std::filesystem::path& checkpoint, const RunState& state);
// With the rounds' files.
RunState read_run_state(const std::filesystem::path& checkpoint);

// Each record as it travels between ranks, with its length before it.
void write_trees(const std::filesystem::path& path, const std::vector<TreeRecord>& trees);
// bad_input that names the file when it is damaged; MessageVersionError when a program with other messages wrote it.
std::vector<TreeRecord> read_trees(const std::filesystem::path& path);

}  // namespace deepsearch
