#include "core/version.h"

#include "deepsearch_version.h"

namespace deepsearch {

const char* version() {
  return DEEPSEARCH_VERSION;
}

const char* revision() {
  return DEEPSEARCH_REVISION;
}

std::string program() {
  return std::string("deepsearch ") + version() + " (" + revision() + ")";
}

}  // namespace deepsearch
