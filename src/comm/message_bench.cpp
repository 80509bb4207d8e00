#include "comm/message_bench.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "comm/mailbox.h"
#include "comm/watchdog.h"
#include "comm/world_impl.h"
#include "core/error.h"
#include "core/timer.h"

namespace deepsearch {
namespace {

constexpr int kPlainTag = 9;
constexpr int64_t kTreesAhead = 16;   // sent and not yet confirmed
constexpr int64_t kSmallAhead = 256;  // …

AssignMessage assignment() {
  AssignMessage message;
  AssignMessage::Item item;
  item.problem.id = "p-12345";
  item.problem.source = "bag";
  item.problem.prompt.assign(200, 'x');
  item.problem.answer.assign(20, 'y');
  item.problem.prompt_tokens.assign(100, 5);
  message.items.push_back(item);
  return message;
}

TreeMessage tree_of(int64_t tokens) {
  constexpr int64_t kStep = 64;
  TreeMessage message;
  TreeRecord& tree = message.tree;
  tree.problem = assignment().items.front().problem;
  const auto n = static_cast<size_t>(tokens);
  tree.tokens.resize(n, 17);
  tree.logprobs.resize(n, -0.5F);
  tree.entropies.resize(n, 0.5F);
  tree.token_versions.resize(n, 3);
  for (int64_t first = 0; first < tokens; first += kStep) {
    NodeRecord node;
    node.parent = static_cast<int32_t>(tree.nodes.size()) - 1;
    node.first_token = static_cast<int32_t>(first);
    node.n_tokens = static_cast<int32_t>(std::min(kStep, tokens - first));
    tree.nodes.push_back(node);
  }
  return message;
}

HeartbeatMessage heartbeat() {
  HeartbeatMessage message;
  message.host = "node0123";
  message.phase = "searching";
  return message;
}

bool receives(const World& world) {
  return world.rank() == 0;
}

// Seconds of `work` between two moments at which all ranks are together.
template <class Work>
double together(World& world, Work&& work) {
  world.barrier("bench");
  const Stopwatch watch;
  work();
  const double seconds = watch.seconds();
  world.barrier("bench");
  return seconds;
}

void send_with_window(Mailbox& mailbox, const AnyMessage& message, int64_t count, int64_t window) {
  int64_t open = 0;
  for (int64_t i = 0; i < count || open > 0;) {
    if (i < count && open < window) {
      mailbox.send(0, message);
      ++i;
      ++open;
    }
    while (mailbox.receive()) --open;
  }
  mailbox.flush(60);
}

double mailbox_trees(World& world, const TreeMessage& tree, int64_t per_sender) {
  Mailbox mailbox(world);
  return together(world, [&] {
    if (!receives(world)) return send_with_window(mailbox, tree, per_sender, kTreesAhead);
    const ControlMessage confirmed;
    for (int64_t i = 0; i < per_sender * (world.size() - 1); ++i) {
      std::optional<Envelope> envelope;
      while (!(envelope = mailbox.receive())) continue;
      mailbox.send(envelope->from, confirmed);
    }
    mailbox.flush(60);
  });
}

double plain_trees(World& world, const std::vector<char>& bytes, int64_t per_sender) {
  const World::Impl& impl = world.impl();
  std::vector<char> buffer(bytes);
  const auto size = static_cast<int>(bytes.size());
  return together(world, [&] {
    if (!receives(world)) {
      for (int64_t i = 0; i < per_sender; ++i) {
        DEEPSEARCH_MPI(impl, 0, MPI_Send(buffer.data(), size, MPI_BYTE, 0, kPlainTag, impl.mail));
      }
      return;
    }
    for (int64_t i = 0; i < per_sender * (world.size() - 1); ++i) {
      DEEPSEARCH_MPI(impl, -1,
                     MPI_Recv(buffer.data(), size, MPI_BYTE, MPI_ANY_SOURCE, kPlainTag, impl.mail, MPI_STATUS_IGNORE));
    }
  });
}

struct SmallSeconds {
  double wall = 0;
  double cpu = 0;
};

SmallSeconds mailbox_small(World& world, int64_t per_sender) {
  Mailbox mailbox(world);
  Watchdog watchdog(world, now_seconds());
  SmallSeconds seconds;
  const double cpu = cpu_seconds();
  seconds.wall = together(world, [&] {
    if (!receives(world)) return send_with_window(mailbox, heartbeat(), per_sender, kSmallAhead);
    const AssignMessage answer = assignment();
    for (int64_t i = 0; i < per_sender * (world.size() - 1); ++i) {
      std::optional<Envelope> envelope;
      while (!(envelope = mailbox.receive())) continue;
      watchdog.heard(envelope->from, std::get<HeartbeatMessage>(envelope->message), now_seconds());
      mailbox.send(envelope->from, answer);
    }
    mailbox.flush(60);
  });
  seconds.cpu = cpu_seconds() - cpu;
  return seconds;
}

double plain_small(World& world, size_t heartbeat_bytes, size_t assign_bytes, int64_t per_sender) {
  const World::Impl& impl = world.impl();
  std::vector<char> in(std::max(heartbeat_bytes, assign_bytes));
  std::vector<char> out(in.size());
  const auto up = static_cast<int>(heartbeat_bytes);
  const auto down = static_cast<int>(assign_bytes);
  return together(world, [&] {
    if (!receives(world)) {
      for (int64_t sent = 0, answered = 0; answered < per_sender;) {
        if (sent < per_sender && sent - answered < kSmallAhead) {
          DEEPSEARCH_MPI(impl, 0, MPI_Send(out.data(), up, MPI_BYTE, 0, kPlainTag, impl.mail));
          ++sent;
        }
        int there = sent == per_sender || sent - answered == kSmallAhead ? 1 : 0;
        if (there == 0) DEEPSEARCH_MPI(impl, 0, MPI_Iprobe(0, kPlainTag, impl.mail, &there, MPI_STATUS_IGNORE));
        if (there == 0) continue;
        DEEPSEARCH_MPI(impl, 0, MPI_Recv(in.data(), down, MPI_BYTE, 0, kPlainTag, impl.mail, MPI_STATUS_IGNORE));
        ++answered;
      }
      return;
    }
    for (int64_t i = 0; i < per_sender * (world.size() - 1); ++i) {
      MPI_Status status;
      DEEPSEARCH_MPI(impl, -1, MPI_Recv(in.data(), up, MPI_BYTE, MPI_ANY_SOURCE, kPlainTag, impl.mail, &status));
      DEEPSEARCH_MPI(impl, status.MPI_SOURCE,
                     MPI_Send(out.data(), down, MPI_BYTE, status.MPI_SOURCE, kPlainTag, impl.mail));
    }
  });
}

// Bytes a second of `once`, which handles `bytes`.
template <class Once>
double rate(double bytes, Once&& once) {
  constexpr double kLong = 0.3;
  once();
  const Stopwatch watch;
  int64_t times = 0;
  for (; watch.seconds() < kLong; ++times) once();
  return static_cast<double>(times) * bytes / watch.seconds();
}

double memcpy_rate(size_t bytes) {
  const size_t copies = std::max<size_t>(2, (size_t{256} << 20) / bytes);  // more than caches hold
  std::vector<char> from(copies * bytes, 'x');
  std::vector<char> to(copies * bytes, 'y');
  size_t at = 0;
  return rate(static_cast<double>(bytes), [&] {
    std::memcpy(to.data() + at * bytes, from.data() + at * bytes, bytes);
    at = (at + 1) % copies;
  });
}

}  // namespace

MessageBenchResult bench_messages(World& world, const MessageBenchParams& params) {
  if (world.size() < 2) bad_input("bench messages needs two ranks or more: mpirun -n 2 deepsearch bench messages");
  MessageBenchResult result;
  result.senders = world.size() - 1;
  const TreeMessage tree = tree_of(params.tree_tokens);
  const std::vector<char> packed = pack_message(tree);
  result.tree_bytes = static_cast<double>(packed.size());
  const double gigabytes = result.tree_bytes * static_cast<double>(params.trees * result.senders) / 1e9;
  mailbox_trees(world, tree, 4);  // the first messages set up shared memory
  result.trees_gbs = gigabytes / mailbox_trees(world, tree, params.trees);
  plain_trees(world, packed, 4);
  result.plain_trees_gbs = gigabytes / plain_trees(world, packed, params.trees);

  result.heartbeat_bytes = static_cast<double>(pack_message(heartbeat()).size());
  result.assign_bytes = static_cast<double>(pack_message(assignment()).size());
  const auto small = static_cast<double>(2 * params.small * result.senders);
  const SmallSeconds seconds = mailbox_small(world, params.small);
  result.small_per_second = small / seconds.wall;
  result.small_per_cpu_second = small / seconds.cpu;
  result.plain_per_second = small / plain_small(world, static_cast<size_t>(result.heartbeat_bytes),
                                                static_cast<size_t>(result.assign_bytes), params.small);
  if (receives(world)) {
    result.memcpy_gbs = memcpy_rate(packed.size()) / 1e9;
    result.pack_gbs = rate(result.tree_bytes, [&] { pack_message(tree); }) / 1e9;
    result.unpack_gbs = rate(result.tree_bytes, [&] { unpack_message(packed.data(), packed.size()); }) / 1e9;
  }
  world.barrier("bench");
  return result;
}

}  // namespace deepsearch
