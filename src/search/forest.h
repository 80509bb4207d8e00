// Forest: many episodes over one generator. Keeps each supplied with what it asked for, hands out finished records, and
// measures where the time goes. One owner thread, the generator's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "core/timer.h"
#include "data/problem.h"
#include "data/tree_record.h"
#include "search/episode.h"
#include "search/params.h"
#include "search/step_generator.h"
#include "verify/verifier.h"

namespace deepsearch {

struct ForestOptions {
  uint64_t seed = 0;
  int made_by_rank = 0;       // written into records
  uint64_t first_handle = 1;  // handles count up from here; must stay unique on this generator
};

class Forest {
 public:
  // `generator` and `verifier` must outlive the forest. `params` is the default of the two add functions.
  Forest(StepGenerator& generator, const Verifier& verifier, const SearchParams& params, const ForestOptions& options);
  ~Forest();  // releases what is still growing
  Forest(const Forest&) = delete;
  Forest& operator=(const Forest&) = delete;

  // Start an episode; its first requests are submitted at once. The handle returned is the requests' `tree`.
  uint64_t add_tree(Problem problem, const TreeKey& key);
  uint64_t add_tree(Problem problem, const TreeKey& key, const SearchParams& params);
  uint64_t add_rollouts(Problem problem, const TreeKey& key, int64_t n);
  uint64_t add_rollouts(Problem problem, const TreeKey& key, int64_t n, const SearchParams& params);
  // From a place on the `way` of a solution (search/branch_rollouts.h).
  uint64_t add_branch(Problem problem, const TreeKey& key, std::vector<Step> way, int64_t n,
                      const SearchParams& params);

  // One poll of the generator; feeds what came, submits what is wanted next. Returns expansions taken.
  int64_t pump();
  // Ends an episode with kCancelled; its record is among the finished ones. No effect when it is not growing.
  void cancel(uint64_t handle);
  // Ends all growing episodes with kCancelled; their records are among the finished ones.
  void cancel_all();
  // Finished records since the last call, in order of finishing.
  std::vector<TreeRecord> take_finished();

  int64_t growing() const { return static_cast<int64_t>(growing_.size()); }
  // Seconds inside episodes (selection, backup, verification), all of them together.
  double bookkeeping_seconds() const { return bookkeeping_seconds_; }
  // Seconds inside submit, poll and release.
  double generator_seconds() const { return generator_seconds_; }

 private:
  struct Growing {
    std::unique_ptr<Episode> episode;
    double started = 0;             // now_seconds at its first request
    double bookkeeping_before = 0;  // of the whole forest, then
  };

  uint64_t start(std::unique_ptr<Episode> episode);
  void supply(Growing& growing);
  void finish(uint64_t handle);

  StepGenerator& generator_;
  const Verifier& verifier_;
  const SearchParams params_;
  const ForestOptions options_;
  uint64_t next_handle_;
  std::map<uint64_t, Growing> growing_;
  std::vector<Expansion> came_;  // scratch of pump
  std::vector<TreeRecord> finished_;
  double bookkeeping_seconds_ = 0;
  double generator_seconds_ = 0;
};

}  // namespace deepsearch
