// What a search rank has to do, as it tells the coordinator. Plain values.
#pragma once

#include <cstdint>

namespace deepsearch {

// A sequence is one child of an expansion that has been asked for and has not come back; a request is one expansion.
struct Load {
  int64_t own_requests = 0;   // of this rank's trees, wherever they run
  int64_t own_sequences = 0;  // of those
  int64_t here = 0;           // sequences on this rank's engine: its own, and those it makes for others

  bool operator==(const Load&) const = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(own_requests, own_sequences, here);
  }
};

// Says when a load is worth telling: when it has halved or doubled since it was last told, or has come to nothing.
class LoadReporter {
 public:
  bool due(const Load& now) const {
    return moved(last_.own_sequences, now.own_sequences) || moved(last_.own_requests, now.own_requests) ||
           moved(last_.here, now.here);
  }
  void told(const Load& now) { last_ = now; }

 private:
  static bool moved(int64_t before, int64_t now) {
    return now == 0 ? before != 0 : 2 * now <= before || now >= 2 * before + kFew;
  }
  static constexpr int64_t kFew = 8;  // sequences: growing from nothing is no news before it is some work
  Load last_;
};

}  // namespace deepsearch
