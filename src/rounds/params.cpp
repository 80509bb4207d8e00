#include "rounds/params.h"

#include "core/error.h"

namespace deepsearch {

void RoundsParams::describe(ConfigVisitor& v) {
  v.field(
      {.key = "count",
       .unit = "rounds",
       .meaning = "rounds of filter, search and learning; 0: training takes every problem of its split, and nothing "
                  "else of this table matters to it",
       .min = 0,
       .max = 1e6},
      count);
  v.field({.key = "steps",
           .unit = "steps",
           .meaning = "training steps of a round; count * steps must be [learn].steps; 0: [learn].steps / count",
           .min = 0,
           .max = 1e9},
          steps);
  v.field({.key = "filter_samples",
           .unit = "rollouts",
           .meaning = "K: full responses that the filter samples of each problem",
           .min = 1,
           .max = 4096},
          filter_samples);
  v.field({.key = "max_pass_rate",
           .unit = "fraction",
           .meaning = "delta: a problem is hard, and a solution of it is cached, up to this Pass1@K",
           .min = 0,
           .max = 1},
          max_pass_rate);
  v.field({.key = "pool",
           .unit = "problems",
           .meaning = "training problems that a generated task is filtered from; of a problem file it is all of it",
           .min = 1,
           .max = 1e8},
          pool);
  v.field({.key = "wave",
           .unit = "problems",
           .meaning = "problems that are filtered together: between waves a filter is saved, and search ranks wait for "
                      "the last responses of one",
           .min = 1,
           .max = 1e8},
          wave);
  v.field({.key = "replay",
           .unit = "",
           .meaning = "keep solutions that search found, and train on them among direct rollouts instead of growing "
                      "another tree"},
          replay);
  v.field({.key = "cache_mb",
           .unit = "MB",
           .meaning = "most memory of cached solutions; the oldest of the problems that have most go first",
           .min = 0.001,
           .max = 1e6},
          cache_mb);
  v.field({.key = "cache_file",
           .unit = "",
           .meaning = "cache to begin with: resume/replay_cache.bin of an earlier run's checkpoint; \"\": empty"},
          cache_file);
  v.field({.key = "mix",
           .unit = "fraction",
           .meaning = "share of a batch that is drawn from all problems instead of the hard ones",
           .min = 0,
           .max = 1},
          mix);
  v.field({.key = "safeguard",
           .unit = "",
           .meaning = "leave endlessly repeating and garbled trajectories that are not correct out of the loss"},
          safeguard);
  v.field({.key = "repetition_tokens",
           .unit = "tokens",
           .meaning = "a trajectory repeats endlessly when its end is one piece over and over, for at least so long",
           .min = 2},
          repetition_tokens);
  v.field({.key = "repetition_times",
           .unit = "times",
           .meaning = "... and the piece stands there at least so many times",
           .min = 2},
          repetition_times);
  v.field({.key = "garbled_characters",
           .unit = "characters",
           .meaning = "a text is garbled with so many control characters, replacement characters or invalid bytes",
           .min = 1},
          garbled_characters);
  v.field({.key = "garbled_run",
           .unit = "characters",
           .meaning = "... or with one character so many times in a row",
           .min = 2},
          garbled_run);
}

RoundsParams resolved(RoundsParams rounds, int64_t learn_steps) {
  if (!rounds.on()) return rounds;
  if (rounds.steps == 0) {
    if (learn_steps % rounds.count != 0 || learn_steps == 0) {
      bad_input("[rounds].count = {} does not divide [learn].steps = {}: give [rounds].steps and their product",
                rounds.count, learn_steps);
    }
    rounds.steps = learn_steps / rounds.count;
  }
  if (rounds.count * rounds.steps != learn_steps) {
    bad_input("[rounds] has {} rounds of {} steps, but [learn].steps is {}: set it to {}", rounds.count, rounds.steps,
              learn_steps, rounds.count * rounds.steps);
  }
  if (!rounds.cache_file.empty() && !rounds.replay) {
    bad_input("[rounds].cache_file has no effect with replay = false: leave one of them out");
  }
  return rounds;
}

}  // namespace deepsearch
