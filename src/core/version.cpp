#include "core/version.h"

#include "deepsearch_version.h"

namespace deepsearch {

const char* version() {
  return DEEPSEARCH_VERSION;
}

const char* revision() {
  return DEEPSEARCH_REVISION;
}

}  // namespace deepsearch
