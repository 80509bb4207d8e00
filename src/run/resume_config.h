// Which keys of the configuration may change when a run is resumed.
#pragma once

#include <string>
#include <vector>

#include "run/config.h"

namespace deepsearch {

struct ChangedKey {
  std::string key;  // "search.width"
  std::string before;
  std::string after;
  Results decides;  // core/config_visitor.h

  bool decides_any(Results results) const { return (decides & results) != 0; }
};

// Keys whose values differ, in the order of describe().
std::vector<ChangedKey> changed_keys(const Config& before, const Config& after);

// The changed keys that are allowed to, since they do not decide what comes out of a training. bad_input for the first
// other one, with both values. [learn].steps may grow where the learning rate does not depend on it.
std::vector<ChangedKey> check_resumable(const Config& before, const Config& after, int64_t steps_done);

}  // namespace deepsearch
