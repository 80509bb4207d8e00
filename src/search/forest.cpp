#include "search/forest.h"

#include <algorithm>

#include "search/branch_rollouts.h"
#include "search/rollouts.h"
#include "search/tree.h"

namespace deepsearch {

namespace {

// Adds its lifetime to a sum.
class Timed {
 public:
  explicit Timed(double& sum) : sum_(sum) {}
  ~Timed() { sum_ += watch_.seconds(); }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  double& sum_;
  Stopwatch watch_;
};

}  // namespace

Forest::Forest(StepGenerator& generator, const Verifier& verifier, const SearchParams& params,
               const ForestOptions& options)
    : generator_(generator),
      verifier_(verifier),
      params_(params),
      options_(options),
      next_handle_(options.first_handle) {}

Forest::~Forest() {
  for (const auto& [handle, growing] : growing_) generator_.release(handle);
}

uint64_t Forest::add_tree(Problem problem, const TreeKey& key) {
  return add_tree(std::move(problem), key, params_);
}

uint64_t Forest::add_tree(Problem problem, const TreeKey& key, const SearchParams& params) {
  return start(std::make_unique<Tree>(std::move(problem), key, params, verifier_, options_.seed, next_handle_));
}

uint64_t Forest::add_rollouts(Problem problem, const TreeKey& key, int64_t n) {
  return add_rollouts(std::move(problem), key, n, params_);
}

uint64_t Forest::add_rollouts(Problem problem, const TreeKey& key, int64_t n, const SearchParams& params) {
  return start(std::make_unique<Rollouts>(std::move(problem), key, n, params, verifier_, options_.seed, next_handle_));
}

uint64_t Forest::add_branch(Problem problem, const TreeKey& key, std::vector<Step> way, int64_t n,
                            const SearchParams& params) {
  return start(std::make_unique<BranchRollouts>(std::move(problem), key, std::move(way), n, params, verifier_,
                                                options_.seed, next_handle_));
}

uint64_t Forest::start(std::unique_ptr<Episode> episode) {
  const uint64_t handle = next_handle_++;
  Growing& growing = growing_[handle];
  growing.episode = std::move(episode);
  growing.started = now_seconds();
  growing.bookkeeping_before = bookkeeping_seconds_;
  supply(growing);
  return handle;
}

void Forest::supply(Growing& growing) {
  while (true) {
    std::optional<ExpansionRequest> request;
    {
      const Timed timed(bookkeeping_seconds_);
      request = growing.episode->next_request();
    }
    if (!request) return;
    const Timed timed(generator_seconds_);
    generator_.submit(std::move(*request));
  }
}

int64_t Forest::pump() {
  came_.clear();
  {
    const Timed timed(generator_seconds_);
    generator_.poll(came_);
  }
  for (Expansion& expansion : came_) {
    const uint64_t handle = expansion.tree;
    const auto place = growing_.find(handle);
    if (place == growing_.end()) continue;  // of an episode that ended meanwhile
    {
      const Timed timed(bookkeeping_seconds_);
      place->second.episode->apply(std::move(expansion));
    }
    if (place->second.episode->done()) {
      finish(handle);
    } else {
      supply(place->second);
    }
  }
  return static_cast<int64_t>(came_.size());
}

void Forest::finish(uint64_t handle) {
  const auto place = growing_.find(handle);
  Growing& growing = place->second;
  {
    const Timed timed(generator_seconds_);
    generator_.release(handle);
  }
  {
    const Timed timed(bookkeeping_seconds_);
    finished_.push_back(growing.episode->finish());
  }
  TreeRecord& record = finished_.back();
  record.made_by_rank = options_.made_by_rank;
  record.seconds = now_seconds() - growing.started;
  // What the forest's episodes took meanwhile, this one's included, was no generation; the rest was.
  record.seconds_generating = std::max(0.0, record.seconds - (bookkeeping_seconds_ - growing.bookkeeping_before));
  growing_.erase(place);
}

void Forest::cancel(uint64_t handle) {
  const auto place = growing_.find(handle);
  if (place == growing_.end()) return;
  place->second.episode->cancel();
  finish(handle);
}

void Forest::cancel_all() {
  while (!growing_.empty()) cancel(growing_.begin()->first);
}

std::vector<TreeRecord> Forest::take_finished() {
  std::vector<TreeRecord> records;
  records.swap(finished_);
  return records;
}

}  // namespace deepsearch
