// Backing a reward up a path: algorithm.md section 2, step 5 (the paper's constrained rule and its vanilla ablation).
// Pure functions.
#pragma once

#include <cstdint>

#include "search/params.h"

namespace deepsearch {

// What a backup did to one node; the names the golden traces use.
enum class BackupCase {
  kFromZero,          // q was 0
  kSameSign,          // q and r on the same side
  kNegativeReplaced,  // q < 0, r > 0: the negative past is forgotten
  kPositiveKept,      // q > 0, r < 0: unchanged
  kOppositeAdded,     // simple backup only: signs differ and w·r is added all the same
  kZeroReward,        // r = 0: only N grows
};

// w = max((i + 1)/(L + 1), gamma_min) for the node at depth i of a path whose terminal lies at depth L.
double backup_weight(int32_t depth, int32_t terminal_depth, double gamma_min);

struct BackedUp {
  double q = 0;
  BackupCase what = BackupCase::kFromZero;
};

// q after the reward `r` arrives with weight `w`.
BackedUp back_up(double q, double r, double w, Backup rule);

const char* to_string(BackupCase what);

}  // namespace deepsearch
