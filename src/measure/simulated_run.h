// A simulated cluster as real processes: the Coordinator, SearchWorkers and Mailboxes of a run over simulated engines
// (simulate/simulated_engine.h), for holding the simulation against. What takes time is the engine, the learner and the
// weights, by cluster.toml; messages take the time that they take here.
#pragma once

#include <optional>

#include "comm/mailbox.h"
#include "comm/world.h"
#include "simulate/params.h"
#include "simulate/trace.h"

namespace deepsearch {

// [ranks] for World::assign_roles. bad_input unless the world has a process for each search rank and one for the
// coordinator.
RanksParams ranks_of(const ClusterParams& params, int world_size);

// On all ranks of a world with roles. The trace, on the coordinator. Leaves the mailboxes empty.
std::optional<ClusterTrace> run_simulated(World& world, Mailbox& mailbox, const ClusterParams& params, bool share);

}  // namespace deepsearch
