#include "verify/task_verifier.h"

#include <utility>

#include "core/error.h"

namespace deepsearch {

TaskVerifier::TaskVerifier(std::shared_ptr<const Task> task) : task_(std::move(task)) {
  if (!task_) failure("TaskVerifier: no task was given");
}

Verdict TaskVerifier::verify(const Problem& problem, TokenSpan response, bool ended) const {
  return task_->verify(problem, response, ended);
}

StepState TaskVerifier::check_step(const Problem& problem, TokenSpan response) const {
  return task_->check_step(problem, response);
}

}  // namespace deepsearch
