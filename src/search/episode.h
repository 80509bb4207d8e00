// Episode: one problem being worked on, as a state machine over a StepGenerator's requests and expansions. A Tree or a
// group of Rollouts. Nothing here calls the generator: whoever drives it (search/forest.h) does.
//
// Call order: next_request() until nullopt; then apply() each expansion as it comes, in any order, and next_request()
// again after each; once done(), finish() once. One owner thread.
#pragma once

#include <cstdint>
#include <optional>

#include "data/tree_record.h"
#include "search/step_generator.h"

namespace deepsearch {

class Episode {
 public:
  virtual ~Episode() = default;

  // The handle of its requests: ExpansionRequest.tree.
  virtual uint64_t handle() const = 0;
  // The next expansion it wants; nullopt while it waits for one in flight, and once it is done.
  virtual std::optional<ExpansionRequest> next_request() = 0;
  // Takes one expansion of a request it made. Throws failure when it is not one, or is malformed. Ignored once done.
  virtual void apply(Expansion expansion) = 0;
  virtual bool done() const = 0;
  // Ends it now with StopReason::kCancelled; no effect once done.
  virtual void cancel() = 0;
  // The record, moved out. Only when done, once. Seconds are left 0: the driver measures them.
  virtual TreeRecord finish() = 0;
};

}  // namespace deepsearch
