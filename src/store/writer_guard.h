// What both writers do around each call: take the time, and keep the first error, since HDF5's state after a failed
// write is not to be trusted. Internal to store/.
//
// A writer that failed never closes its file: closing would clear the mark of a file being written and store a length
// that was never reached, and what was flushed could no longer be opened. Left as it is, it reads like a killed one.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/timer.h"

namespace deepsearch {

class WriterGuard {
 public:
  template <class F>
  void run(F&& step) {
    if (broken_) throw Error(*broken_);
    const Stopwatch watch;
    try {
      step();
    } catch (const Error& error) {
      broken_ = error;
      seconds_ += watch.seconds();
      throw;
    }
    seconds_ += watch.seconds();
  }
  bool broken() const { return broken_.has_value(); }
  double seconds() const { return seconds_; }

 private:
  std::optional<Error> broken_;
  double seconds_ = 0;
};

// Where the state of a writer that failed stays until the process ends, never closed. One thread writes.
inline void abandon(std::shared_ptr<void> state) {
  static auto* const abandoned = new std::vector<std::shared_ptr<void>>;  // no destructor runs at the end either
  abandoned->push_back(std::move(state));
}

}  // namespace deepsearch
