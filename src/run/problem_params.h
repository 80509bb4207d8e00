// [problems]: problem files in place of generated problems, what is left out of them, and how text becomes a prompt.
#pragma once

#include <cstdint>
#include <string>

#include "core/config_visitor.h"

namespace deepsearch {

enum class Guessable : uint8_t { kKeep, kExclude, kDownWeight };

struct ProblemParams {
  std::string train_file = "";
  std::string test_file = "";
  // [task].name = "text" only
  std::string prompt_suffix = "";
  std::string chat_template = "none";
  std::string system = "";
  bool thinking = true;
  int64_t max_prompt_tokens = 2048;
  std::string long_prompts = "leave_out";  // or "refuse"
  // of the training file
  std::string conflicts = "leave_out";  // or "keep"
  Guessable guessable = Guessable::kKeep;
  double guessable_weight = 0.25;

  void describe(ConfigVisitor& v);
};

// bad_input for keys that say nothing where problems are an embedded task's.
void check(const ProblemParams& params, bool text);

}  // namespace deepsearch
