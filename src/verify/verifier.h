// The judgement every reward comes from. Implementations never throw on any response, and take bounded time and memory.
// Const methods may be called from any thread.
#pragma once

#include "data/problem.h"
#include "data/tokens.h"
#include "data/verdict.h"

namespace deepsearch {

class Verifier {
 public:
  virtual ~Verifier() = default;

  // `response`: all tokens after the prompt. `ended`: the policy ended it itself (end-of-sequence); false: it was cut
  // off.
  virtual Verdict verify(const Problem& problem, TokenSpan response, bool ended) const = 0;

  // Judges an unfinished response at a step boundary, so that an episode can end early. Default: no opinion.
  virtual StepState check_step(const Problem& problem, TokenSpan response) const {
    (void)problem;
    (void)response;
    return StepState::kAlive;
  }
};

}  // namespace deepsearch
