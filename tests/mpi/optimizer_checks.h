// The optimiser over any collectives: what one rank alone gets, and what float64 says, the group must get too.
#pragma once

#include "comm/collectives.h"

namespace deepsearch {

// Prints what differs; the number of checks that failed on this rank. Collective over the group.
int check_optimizer(Collectives& group);

}  // namespace deepsearch
