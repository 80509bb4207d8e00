// [verify]: what judges a run's responses, in training and evaluation alike.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/config_visitor.h"
#include "data/problem.h"
#include "data/task.h"
#include "verify/verifier.h"

namespace deepsearch {

struct Domain;

enum class Judge : uint8_t { kAuto, kTask, kMathematics };

struct VerifyParams {
  Judge judge = Judge::kAuto;  // of an embedded task its own verifier, of text mathematics; read_config resolves it
  std::vector<std::string> extract = {"boxed"};  // see extraction_of (verify/math_verifier.h)
  double tolerance = 0;
  bool ordered = false;
  bool answer_after_think = false;

  void describe(ConfigVisitor& v);
};

// bad_input: an unknown name in `extract`; answers read from boxes only of a task whose words cannot write one; the
// task's own verifier where there is none. `task` null: text.
void check(const VerifyParams& params, const Task* task);

// The task's own verifier, or MathVerifier on the response's text and the problem's answer. The steps of a task are
// checked on the way by its own verifier only.
std::unique_ptr<Verifier> make_verifier(const VerifyParams& params, const Domain& domain);

// Are two answers, as read from responses to a problem, one answer? With the task's own verifier where they are the
// same text, else by the mathematics of make_verifier. Any thread.
using SameAnswer = std::function<bool(const Problem& problem, const std::string& a, const std::string& b)>;
SameAnswer make_same_answer(const VerifyParams& params, const Domain& domain);

}  // namespace deepsearch
