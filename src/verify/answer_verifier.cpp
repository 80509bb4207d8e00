#include "verify/answer_verifier.h"

#include <utility>

#include "core/error.h"

namespace deepsearch {

AnswerVerifier::AnswerVerifier(MathOptions options, ToText to_text)
    : verifier_(std::move(options)), to_text_(std::move(to_text)) {
  if (!to_text_) failure("AnswerVerifier: no way from tokens to text was given");
}

Verdict AnswerVerifier::verify(const Problem& problem, TokenSpan response, bool ended) const {
  return verifier_.verify(problem, to_text_(response), ended);
}

}  // namespace deepsearch
