#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace deepsearch {

using Token = int32_t;
using TokenSpan = std::span<const Token>;

}  // namespace deepsearch
