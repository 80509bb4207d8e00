// [verify]: what judges a run's responses, in training and evaluation alike.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/config_visitor.h"
#include "data/task.h"
#include "verify/verifier.h"

namespace deepsearch {

enum class Judge : uint8_t { kTask, kMathematics };

struct VerifyParams {
  Judge judge = Judge::kTask;
  std::vector<std::string> extract = {"boxed"};  // see extraction_of (verify/math_verifier.h)
  double tolerance = 0;
  bool ordered = false;
  bool answer_after_think = false;

  void describe(ConfigVisitor& v);
};

// bad_input: an unknown name in `extract`; answers read from boxes only of a task whose words cannot write one.
void check(const VerifyParams& params, const Task& task);

// The task's own verifier, or MathVerifier on the response's text and the problem's answer. The steps of a task are
// checked on the way by its own verifier only.
std::unique_ptr<Verifier> make_verifier(const VerifyParams& params, std::shared_ptr<const Task> task);

}  // namespace deepsearch
