// Which build this is. Kept behind functions so that a new commit recompiles one file only.
#pragma once

#include <string>

namespace deepsearch {

const char* version();   // "0.1.0"
const char* revision();  // git's short hash, "-dirty" when the tree had changes, "unknown" outside a checkout
std::string program();   // "deepsearch 0.1.0 (1a2b3c4d5e6f)": how files name what wrote them

}  // namespace deepsearch
