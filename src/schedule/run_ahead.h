// RunAhead: how far search may be ahead of the learner ([learn].max_staleness = k > 0). Pure counting, for the run and
// for `deepsearch simulate`.
//
// Step n makes policy version n out of version n − 1. It may use trees that were begun under version n − 1 − k or
// later, so none of their tokens is older. Two batches are under way or waiting for their use: what the learner takes
// next, and what is grown meanwhile; they are made up again whenever a version is published. A batch is of the oldest
// that are finished. It waits for single trees only where it must: if without them a later batch would have to hold
// more than its share of those that are in their last step then.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace deepsearch {

class RunAhead {
 public:
  // Problems that were begun under the same version.
  struct Age {
    int64_t all = 0;
    int64_t finished = 0;  // of them; useful ones only
  };

  // `problems`: a batch. `refills`: problems that may be begun beyond one batch a version, each in place of one that
  // taught nothing.
  RunAhead(int64_t problems, int64_t max_staleness, int64_t refills)
      : problems_(problems), max_staleness_(max_staleness), refills_(refills), left_(ahead()), refills_left_(refills) {}

  // The oldest version that step `step` may use.
  int64_t oldest_usable(int64_t step) const { return step - 1 - max_staleness_; }
  // Problems under way or waiting, at most.
  int64_t ahead() const { return max_staleness_ == 0 ? problems_ : 2 * problems_; }

  // How many may be begun now. `held`: under way, or finished, useful and not used.
  int64_t may_begin(int64_t held) const { return std::clamp<int64_t>(ahead() - held, 0, left_); }
  void begun(int64_t problems) { left_ -= problems; }
  void taught_nothing(int64_t problems) {
    const int64_t more = std::min(problems, refills_left_);
    left_ += more;
    refills_left_ -= more;
  }
  void published() {
    left_ = problems_;
    refills_left_ = refills_;
  }

  // A batch can be taken. ages[i]: what was begun under version oldest_usable(step) + i. `wait`: for trees that would
  // be too old otherwise; else they are dropped when they are.
  bool ready(const std::vector<Age>& ages, bool wait) const {
    Age sum;
    int64_t room = 0;  // in the batches after this one that may use what was begun so far
    for (const Age& age : ages) {
      sum.all += age.all;
      sum.finished += age.finished;
      if (wait && sum.finished < sum.all - room) return false;
      room += problems_;
    }
    return sum.finished >= problems_ || (sum.finished == sum.all && may_begin(sum.all) == 0);
  }

 private:
  int64_t problems_;
  int64_t max_staleness_;
  int64_t refills_;
  int64_t left_;  // may still be begun under this version
  int64_t refills_left_;
};

}  // namespace deepsearch
