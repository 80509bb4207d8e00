// The loops of ranks that follow the coordinator. Each returns when the coordinator says stop.
#pragma once

#include "comm/collectives.h"
#include "comm/mailbox.h"
#include "comm/world.h"
#include "learn/trainer.h"
#include "run/config.h"
#include "run/search_worker.h"

namespace deepsearch {

// Listen; grow; and between decode steps listen again.
void search_rank_loop(World& world, Mailbox& mailbox, SearchWorker& worker);

// Both in turn ([ranks].mode = "colocated"); the policy of `step` steps is the trainer's.
void colocated_rank_loop(World& world, Mailbox& mailbox, const Config& config, Trainer& trainer, SearchWorker& worker,
                         int64_t step);

// Learners other than the coordinator's: gather the step's batch, train when told to.
void learner_rank_loop(World& world, Mailbox& mailbox, const Config& config, Trainer& trainer);

}  // namespace deepsearch
