// Where a run with rounds stands at a step boundary or between two waves of its filter: what a checkpoint keeps of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rounds/filter.h"
#include "rounds/params.h"
#include "rounds/replay_cache.h"
#include "rounds/trajectories.h"

namespace deepsearch {

struct RoundsState {
  int64_t round = 0;               // that is filtered for, or learnt from
  bool filtered = false;           // the round's filter is through, and `hard` is its outcome
  FilterPass filter = {};          // of the round, while it goes on
  std::vector<int64_t> hard = {};  // numbers in the pool
  int64_t first_problem = 0;       // problems that were drawn before the round
  uint64_t pool_digest = 0;        // of the pool's problems
  RoundTrajectories trajectories;
  ReplayCache cache;
  // Since the run began.
  int64_t replayed_groups = 0;
  int64_t replayed_tokens = 0;
  int64_t saved_tokens = 0;

  explicit RoundsState(const RoundsParams& params)
      : cache(static_cast<int64_t>(params.cache_mb * (int64_t{1} << 20))) {}
};

// Everything but the cache, which is a file of its own; with a checksum.
std::string state_to_bytes(const RoundsState& state);
// Into one that has just been made. bad_input ("WHERE: …") for damage.
void state_from_bytes(std::string_view bytes, const std::string& where, RoundsState& state);

}  // namespace deepsearch
