// Replays a golden trace: the options as SearchParams, the policy table as a generator, the answers as a verifier, and
// what our tree does as the same JSON events.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "golden/golden_data.h"
#include "search/credit.h"
#include "search/fake_generators.h"
#include "search/tree.h"

namespace deepsearch::testing {

SearchParams params_of_trace(const Json& trace);
CreditParams credit_of_trace(const Json& trace);

// What a tree did, in the words of golden/README.md.
class EventRecorder : public TreeObserver {
 public:
  void on_expand(int32_t node, int32_t depth, int64_t width, std::span<const int32_t> children) override;
  void on_revisit(int32_t node) override;
  void on_terminals(std::span<const TerminalCandidate> candidates, int32_t picked) override;
  void on_no_terminal() override;
  void on_visit(int32_t node, int32_t visits, double q) override;
  void on_backup_row(int32_t terminal, double reward, int32_t node, double weight, int32_t visits, double q,
                     BackupCase what) override;
  void on_select(SelectRule rule, int32_t at, std::span<const Scored> candidates, int32_t chosen) override;
  void on_leftover(int32_t terminal) override;

  Json events = Json::array();
  std::vector<int32_t> leftovers;

 private:
  Json path_ = Json::array();
};

struct Replay {
  TreeRecord record;
  Json events;
  std::vector<int32_t> leftovers;
  bool left_the_table = false;  // a request came that the trace has no answer to; the tree was cancelled there
  int64_t unknown_texts = 0;    // responses judged that the trace has no answer for
};

Replay replay(const Json& trace, const SearchParams& params);

}  // namespace deepsearch::testing
