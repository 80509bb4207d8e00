// A test mode ([ranks].test_delay_ms): received messages wait here for a random time before they are handed out, so
// that messages of different senders come in orders that a quiet machine never shows. Of one sender they keep their
// order, as MPI promises. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>

#include "comm/mailbox.h"

namespace deepsearch {

class DelayedMail {
 public:
  // Every message is held for up to `longest` seconds, 0: off. The times depend on the seed and on how many messages
  // came before.
  DelayedMail(double longest, uint64_t seed) : longest_(longest), seed_(seed) {}

  bool on() const { return longest_ > 0; }
  void hold(Envelope&& envelope, double now);
  void release(double now, std::deque<Envelope>& ready);  // those whose time has come, to the end of `ready`
  bool empty() const { return held_.empty(); }

 private:
  double longest_;
  uint64_t seed_;
  uint64_t count_ = 0;
  std::multimap<double, Envelope> held_;  // by the time of their release
  std::map<int, double> latest_;          // by sender: no later message may go before this
};

}  // namespace deepsearch
