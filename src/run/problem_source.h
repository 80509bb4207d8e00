// Where a run's problems come from: the embedded task's generator, or JSONL files (data/problem_file.h). Every rank
// that makes one makes the same. Const methods: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/problem_file.h"
#include "data/task.h"
#include "run/domain.h"

namespace deepsearch {

// A file's problems with their prompts, in its order.
struct PromptFile {
  std::vector<ProblemRow> rows;  // prompt: the text that the policy is shown; key: of the file's problem without it
  std::vector<int64_t> lines;    // in the file, from 1
  int64_t too_long = 0;          // left out
};
// bad_input names file and line: unreadable, malformed, a word that the language does not have, a prompt longer than
// [problems].max_prompt_tokens (or the task's most) where such are not left out; or no problem that fits.
PromptFile read_prompts(const std::string& path, const Language& language, const ProblemParams& params, bool text);

// Are two reference answers one, as mathematics? What tells repeats from contradictions.
bool same_reference(const std::string& a, const std::string& b);

class ProblemSource {
 public:
  // Reads the files. Of the training file repeats, problems of the held-out file, contradicting ones and, as
  // [problems].guessable says, those with guessable answers are left out. bad_input as read_prompts, and where nothing
  // is left. `with_training` false: only held-out problems are asked for.
  ProblemSource(const Domain& domain, const ProblemParams& params, uint64_t seed, bool with_training = true);

  // The index-th problem of a split. A training file is gone through in an order of its own each time; a test file in
  // its own order, again and again. One thread: the order of the pass last asked for is kept.
  Problem problem(Split split, int64_t index) const;

  // What the training file has, in its order; empty for generated problems.
  const std::vector<Problem>& training_file() const { return train_; }
  // Problems of a split that differ; −1: as many as are wanted.
  int64_t size(Split split) const;
  // Training problems that one pass through the file has; fewer than size() with guessable = "down_weight".
  int64_t pass_size() const { return static_cast<int64_t>(always_.size()) + guessable_a_pass_; }

  // What was left out and why, for people: a line each.
  const std::vector<std::string>& remarks() const { return remarks_; }

 private:
  void read_training(const ProblemParams& params);
  // Sorts these rows of the file into those of every pass and those that passes share.
  void admit(PromptFile&& file, const std::vector<int64_t>& rows, const ProblemParams& params);
  void remark(const std::string& path, const std::string& text) { remarks_.push_back(path + ": " + text); }
  void read_test(const ProblemParams& params);
  Problem of_pass(int64_t pass, int64_t place) const;
  std::vector<int64_t> order_of(int64_t pass) const;

  Domain domain_;
  uint64_t seed_;
  std::vector<Problem> train_;
  std::vector<Problem> test_;
  std::vector<int64_t> always_;     // places in train_ that every pass has
  std::vector<int64_t> guessable_;  // places that passes share, so many each:
  int64_t guessable_a_pass_ = 0;
  mutable int64_t pass_ = -1;
  mutable std::vector<int64_t> order_;  // of pass_
  std::vector<std::string> remarks_;
};

}  // namespace deepsearch
