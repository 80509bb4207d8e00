// Coordinator: hands problems to search ranks and gathers what they grow. Lives on learner 0, in its thread.
//
// Who gets what is decided in schedule/dispatcher.h; what is grown does not depend on who grows it. Records are
// returned in key order. In a world of one it pumps the local worker itself.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "comm/mailbox.h"
#include "comm/watchdog.h"
#include "comm/weights_channel.h"
#include "comm/world.h"
#include "core/activity.h"
#include "run/search_worker.h"
#include "schedule/dispatcher.h"

namespace deepsearch {

// What came of a stretch of search work.
struct Harvest {
  std::vector<TreeMessage> records;  // by (key, group before tree)
  bool interrupted = false;          // stop was asked for: records are what had come by then
};

class Coordinator {
 public:
  // `local`: this rank's own worker where it searches too ([ranks].mode = "colocated", a world of one), else null.
  // `sent_as`: how weights travel (run/flat_weights.h).
  Coordinator(World& world, Mailbox& mailbox, const RanksParams& params, SearchWorker* local, DType sent_as);
  ~Coordinator();
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  // Grows all items under the current policy, before what else waits. `progress(items done)` is called as they come.
  Harvest grow(std::vector<AssignMessage::Item> items, const std::function<void(int64_t items_done)>& progress);

  // Or in pieces: work is added at the end of the queue, is done whenever this rank serves or keeps alive, and its
  // records are taken as they are there.
  void add(std::vector<AssignMessage::Item> items);
  // One round: hands work out, does some of it here, takes messages in; sleeps when there is nothing to do.
  void serve();
  std::vector<TreeMessage> take_records() { return std::exchange(records_, {}); }
  // Tokens that all ranks have generated in so many seconds, and this rank's share of the time inside its engine.
  void log_throughput(double seconds) const;
  // Ends what is under way of these, and forgets what waits. Records of the former still come.
  void cancel(const std::vector<TreeKey>& keys);

  // A new policy version for every search rank; each answers with a report of the time since the last one. The values
  // go out while this rank does other things and listens now and then; the transfer before must have ended, and is
  // waited for. fp32 values are sent from where they are.
  void publish(std::shared_ptr<const ModelWeights> weights, int64_t policy_version);
  // Of transfers that have ended since the last call.
  double take_weights_seconds() { return std::exchange(weights_seconds_, 0); }

  // Gives the other learners the step's batch and the word to train on it, with how much of the budget is spent
  // (ControlMessage::progress). Where this rank searches too, its engine rests until publish().
  void share_batch(const std::vector<TreeRecord>& trees, int64_t step, double progress);

  // Has the other learners write their parts of a checkpoint after `step` into `folder`, and search ranks flush their
  // trees; saved() waits for all of them, and returns the first one's error, "" when there was none. While the run
  // stops, a search rank that does not answer is not waited for: it may be why.
  void save(const std::filesystem::path& folder, int64_t step);
  std::string saved();

  // Between pieces of long local work: takes messages in, so that senders' buffers drain, moves weights on, and hands
  // out work that waits.
  void keep_alive();

  // Has search ranks drop what is unfinished; records of all that they have finished are then here, and on disk. Waits
  // a moment only for a rank that does not answer, and returns those ranks.
  std::set<int> halt();

  // Ends the loops of all other ranks, and takes in what they still send.
  void stop_all(const std::string& why);

  // Reports that have come since the last call; with `wait`, after a moment's sleep if there are none yet.
  std::vector<ReportMessage> take_reports(bool wait = false);
  int64_t tokens_generated() const { return tokens_generated_; }
  const Dispatcher& dispatcher() const { return dispatcher_; }

 private:
  void dispatch();
  void assign(int rank, int64_t count);
  void handle(Envelope&& envelope);
  void listen(bool wait);
  void move_weights();
  void finish_weights();
  void abort_if_silent();
  void give_signs_of_life();
  std::vector<int> others() const;
  std::vector<int> other_learners() const;

  World& world_;
  Mailbox& mailbox_;
  RanksParams params_;
  SearchWorker* local_;
  DType sent_as_;
  WeightsChannel channel_;
  bool sending_ = false;
  double weights_seconds_ = 0;
  Watchdog watchdog_;
  std::optional<WhileWaiting> while_waiting_;  // until stop_all(): signs of life to all, and a look at theirs
  int64_t policy_version_ = 0;
  std::deque<AssignMessage::Item> queue_;
  Dispatcher dispatcher_;
  std::set<TreeKey> awaited_;  // by grow()
  std::vector<TreeMessage> records_;
  std::vector<ReportMessage> reports_;
  int64_t tokens_generated_ = 0;
  int goodbyes_ = 0;
  double last_sign_ = 0;   // of life
  std::set<int> halting_;  // search ranks that have not dropped their trees yet
  std::set<int> saving_;   // ranks that have not said yet that they did their part of a checkpoint
  std::string save_error_;
};

}  // namespace deepsearch
