// Keys of [rounds]: filter, learn from what is hard, filter again (algorithm.md section 4).
#pragma once

#include <cstdint>
#include <string>

#include "core/config_visitor.h"

namespace deepsearch {

struct RoundsParams {
  int64_t count = 0;            // 0: no rounds, and no other key of the table has an effect
  int64_t steps = 0;            // a round; 0: [learn].steps/count
  int64_t filter_samples = 4;   // K
  double max_pass_rate = 0.25;  // δ
  int64_t pool = 1024;          // problems that generated tasks are filtered from; files: all of it
  int64_t wave = 1024;          // problems
  bool replay = true;
  double cache_mb = 256;
  std::string cache_file = {};
  double mix = 0;
  bool safeguard = true;
  int64_t repetition_tokens = 64;
  int64_t repetition_times = 4;
  int64_t garbled_characters = 4;
  int64_t garbled_run = 256;

  bool on() const { return count > 0; }
  bool replays() const { return on() && replay; }
  void describe(ConfigVisitor& v);
};

// With `steps` filled in. bad_input for keys that contradict each other or the run's number of steps.
RoundsParams resolved(RoundsParams rounds, int64_t learn_steps);

}  // namespace deepsearch
