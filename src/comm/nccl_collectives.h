// Private to comm: collectives through NCCL on buffers of this rank's GPU. Compiled where CUDA and NCCL are found.
#pragma once

#ifdef DEEPSEARCH_HAS_CUDA

#include <memory>

#include "comm/mpi_collectives.h"

namespace deepsearch {

// Collective over the learner ranks, each of which owns GPU `gpu`. Errors reach all of them. `helper` carries start-up
// and scalars. `on_device` false: the libraries are stand-ins whose buffers are host memory (tests).
std::unique_ptr<Collectives> make_nccl_collectives(World& world, std::unique_ptr<MpiCollectives> helper, int gpu,
                                                   bool on_device = true);

}  // namespace deepsearch

#endif
