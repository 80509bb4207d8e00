// The learner's library, for a run's provenance.
#pragma once

#include <string>

namespace deepsearch {

std::string learner_library();  // "LibTorch 2.11.0"

}  // namespace deepsearch
