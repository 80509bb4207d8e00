// Which build this is. Kept behind functions so that a new commit recompiles one file only.
#pragma once

namespace deepsearch {

const char* version();   // "0.1.0"
const char* revision();  // git's short hash, "-dirty" when the tree had changes, "unknown" outside a checkout

}  // namespace deepsearch
