// Problems with a mathematical answer behind the common interface: the response's text is judged by MathVerifier, by
// the marks of the problem's file. A response cut off before an answer is incomplete.
#pragma once

#include <functional>
#include <string>

#include "verify/math_verifier.h"
#include "verify/verifier.h"

namespace deepsearch {

class AnswerVerifier final : public Verifier {
 public:
  // `to_text`: the text of a response's tokens; called from any thread, must not throw.
  using ToText = std::function<std::string(TokenSpan)>;

  AnswerVerifier(MathOptions options, ToText to_text);  // failure() without to_text

  Verdict verify(const Problem& problem, TokenSpan response, bool ended) const override;

 private:
  MathVerifier verifier_;
  ToText to_text_;
};

}  // namespace deepsearch
