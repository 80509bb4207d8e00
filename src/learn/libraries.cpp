#include "learn/libraries.h"

#include <torch/version.h>

namespace deepsearch {

std::string learner_library() {
  return std::string("LibTorch ") + TORCH_VERSION;
}

}  // namespace deepsearch
