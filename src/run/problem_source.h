// Where a run's problems come from: the embedded task's generator, or a JSONL file of the task's problems (as
// `deepsearch problems` writes them). Every rank that makes one makes the same. Const methods: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config_visitor.h"
#include "data/task.h"

namespace deepsearch {

// [problems]: files instead of generated problems; "": generated.
struct ProblemParams {
  std::string train_file;
  std::string test_file;

  void describe(ConfigVisitor& v);
};

class ProblemSource {
 public:
  // Reads the files, and encodes their prompts. bad_input names file and line: unreadable, malformed, a word that the
  // task does not know, a prompt longer than the task's.
  ProblemSource(const Task& task, const ProblemParams& params, uint64_t seed);

  // The index-th problem of a split. A training file is gone through in an order of its own each time; a test file in
  // its own order, again and again.
  Problem problem(Split split, int64_t index) const;

  // Problems of a split that differ; −1: as many as are wanted.
  int64_t size(Split split) const;

 private:
  const Task& task_;
  uint64_t seed_;
  std::vector<Problem> train_;
  std::vector<Problem> test_;
};

}  // namespace deepsearch
