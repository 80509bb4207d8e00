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
};

// Keys whose values differ, in the order of describe().
std::vector<ChangedKey> changed_keys(Config before, Config after);

// Says where, how fast or for how long a run goes on, not what comes out of it.
bool is_harmless(const std::string& key);

// The changed keys that are allowed to: they decide where, how fast and for how long a run goes on, not what comes out
// of it. bad_input for the first other one, with both values. [learn].steps may grow where the learning rate does not
// depend on it.
std::vector<ChangedKey> check_resumable(const Config& before, const Config& after, int64_t steps_done);

}  // namespace deepsearch
