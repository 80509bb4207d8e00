// An embedded task's own verifier and step check behind the common interface.
#pragma once

#include <memory>

#include "data/task.h"
#include "verify/verifier.h"

namespace deepsearch {

class TaskVerifier final : public Verifier {
 public:
  // Shares the task; it must not be null (failure otherwise).
  explicit TaskVerifier(std::shared_ptr<const Task> task);

  Verdict verify(const Problem& problem, TokenSpan response, bool ended) const override;
  StepState check_step(const Problem& problem, TokenSpan response) const override;

 private:
  std::shared_ptr<const Task> task_;
};

}  // namespace deepsearch
