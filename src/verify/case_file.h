// Case files of a verifier: one JSON object a line with `gold`, `pred` (or `gold_parts`, `pred_parts`: [text, count]
// pairs that are repeated and joined; or `pred_b64`), and `config`, options of the reading and the comparison.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "verify/math_verifier.h"

namespace deepsearch {

struct VerifierCase {
  std::string id;
  std::string gold;
  std::string response;
  MathOptions options;
  int expected = -1;  // 0, 1; -1: the line does not say
};

// bad_input, beginning with `place`, for a line that is no case.
VerifierCase read_case(const nlohmann::json& line, const std::string& place);

}  // namespace deepsearch
