#include "comm/collectives.h"

#include <map>
#include <utility>

#include "comm/gpu.h"
#include "comm/mpi_collectives.h"
#include "comm/nccl_collectives.h"
#include "core/error.h"

namespace deepsearch {
namespace {

// Why the learners cannot use NCCL, the same text on all of them; "" when they can.
std::string why_no_nccl([[maybe_unused]] World& world, [[maybe_unused]] MpiCollectives& group) {
#ifdef DEEPSEARCH_HAS_CUDA
  const std::string bus_id = gpu_bus_id(gpu_of(world));
  const std::vector<std::string> gpus = group.gather_texts(bus_id.empty() ? "" : world.host() + " GPU " + bus_id);
  std::map<std::string, int> owner;
  for (size_t i = 0; i < gpus.size(); ++i) {
    const int rank = world.coordinator_rank() + static_cast<int>(i);
    if (gpus[i].empty()) return fmt::format("no GPU on host {} for {}", world.host_of(rank), world.name_of(rank));
    const auto [found, fresh] = owner.emplace(gpus[i], rank);
    if (!fresh) {
      return fmt::format("{} and {} share {}; give each learner rank a GPU of its own", world.name_of(found->second),
                         world.name_of(rank), gpus[i]);
    }
  }
  return "";
#else
  return fmt::format("no GPU on host {}: this program was built without CUDA and NCCL", world.host());
#endif
}

}  // namespace

std::unique_ptr<Collectives> make_learner_collectives(World& world, Transport transport) {
  auto group = std::make_unique<MpiCollectives>(world);
  if (transport == Transport::kMpi) return group;
  const std::string why = why_no_nccl(world, *group);
#ifdef DEEPSEARCH_HAS_CUDA
  if (why.empty()) return make_nccl_collectives(world, std::move(group), gpu_of(world));
#endif
  if (transport == Transport::kNccl) bad_input("[ranks].transport = 'nccl': {}; use 'mpi' or 'auto'", why);
  return group;
}

}  // namespace deepsearch
