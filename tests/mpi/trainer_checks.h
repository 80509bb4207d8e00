// The whole trainer over a group of learner ranks: 1, 2 or 4 of them, sharded or not, make one rank's parameters.
#pragma once

#include "comm/collectives.h"

namespace deepsearch {

// Collective. The number of checks that failed on this rank, each said on stderr.
int check_trainer(Collectives& group);

}  // namespace deepsearch
