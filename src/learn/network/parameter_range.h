// Neighbouring parameters of a list. Pure: no LibTorch.
#pragma once

#include <cstdint>

namespace deepsearch {

// [begin, end).
struct ParameterRange {
  int64_t begin = 0;
  int64_t end = 0;
};

}  // namespace deepsearch
