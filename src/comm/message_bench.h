// How fast messages are, beside plain MPI calls with the same bytes in the same run. For `deepsearch bench messages`.
#pragma once

#include <cstdint>

namespace deepsearch {

class World;

struct MessageBenchParams {
  int64_t tree_tokens = 100'000;  // of a tree; 16 bytes each, and a node for every 64
  int64_t trees = 400;            // that each sender sends
  int64_t small = 100'000;        // heartbeats that each sender sends, and assignments that answer them
};

struct MessageBenchResult {
  int64_t senders = 0;
  double tree_bytes = 0;            // of a message
  double trees_gbs = 0;             // packed, sent, received and unpacked, checksums included
  double plain_trees_gbs = 0;       // MPI_Send of packed bytes, MPI_Recv into one buffer
  double memcpy_gbs = 0;            // one thread, such messages from memory to memory
  double pack_gbs = 0;              // one core, nothing sent
  double unpack_gbs = 0;            // …
  double heartbeat_bytes = 0;       // of a message
  double assign_bytes = 0;          // …
  double small_per_second = 0;      // heartbeats received and handled and assignments packed and sent, together
  double small_per_cpu_second = 0;  // of the receiver
  double plain_per_second = 0;      // MPI_Recv and MPI_Send of as many bytes
};

// Collective; every rank but 0 sends to rank 0, which has the result. bad_input in a world of one.
MessageBenchResult bench_messages(World& world, const MessageBenchParams& params);

}  // namespace deepsearch
