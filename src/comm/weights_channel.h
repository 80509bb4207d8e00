// WeightsChannel: a policy's values from the coordinator to all search ranks, straight from the coordinator's buffers
// into theirs, of any size, while both sides do other work. A WeightsMessage announces a transfer; then the coordinator
// calls start_send() and every search rank start_receive(), as often as there were announcements and in their order.
//
// Values travel down a binary tree of ranks in pieces of at most 16 MiB, each handed on as soon as it is there; pieces
// move whenever a rank calls progress(). Buffers must stay as they are until busy() is false. One thread. Errors name
// rank, host and peer; a rank that stops taking pieces is for the watchdog to find (comm/watchdog.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace deepsearch {

class World;

class WeightsChannel {
 public:
  // Roles are assigned. On learners other than the coordinator, and in a world of one, there is nothing to do with it.
  explicit WeightsChannel(World& world);
  // What is under way is given some seconds to end; then its buffers are left to the end of the process.
  ~WeightsChannel();
  WeightsChannel(const WeightsChannel&) = delete;
  WeightsChannel& operator=(const WeightsChannel&) = delete;

  // The parts one after the other; `owner` keeps them alive until the transfer is done. failure() while busy.
  void start_send(std::vector<std::span<const std::byte>> parts, std::shared_ptr<const void> owner);
  // Parts of the same sizes as those sent.
  void start_receive(std::vector<std::span<std::byte>> parts, std::shared_ptr<void> owner);

  // Moves what can be moved; true when nothing is under way.
  bool progress();
  bool busy() const;

  // Of the last transfer that ended here. A sender's ends when the ranks it sends to have everything.
  double seconds() const;
  int64_t bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepsearch
