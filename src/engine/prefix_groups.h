// Which rows of a pass share which KV blocks: the tree of tables behind grouped attention, where siblings read their
// common prefix once. Pure. A row is one token of Pass::tokens, attending through its span's table.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/pass.h"

namespace deepsearch {

// Rows [first_row, last_row) times the blocks at indices [first_block, last_block) of their tables, the same blocks for
// all of them.
//
//   whole   every row attends to every slot of every block; the rows may belong to several spans
//   !whole  the rows are all those of one span, the blocks those from its first token on: a row attends to the slots of
//           positions up to its own
//
// Every (row, block index) that a row attends to is in exactly one group, and for each row the groups' block indices
// ascend in list order.
struct PrefixGroup {
  int32_t first_row = 0;
  int32_t last_row = 0;
  int32_t first_block = 0;
  int32_t last_block = 0;
  int32_t table = 0;       // where the table of the group's first span begins in Pass::tables
  int32_t first_span = 0;  // in Pass::spans
  bool whole = true;
};

// Reusable: keeps its memory from pass to pass. Sharing is found between spans that stand next to each other, which is
// how the scheduler lists siblings. O(sum of table lengths).
class PrefixGroups {
 public:
  const std::vector<PrefixGroup>& find(const Pass& pass);

 private:
  void split(const Pass& pass, int32_t first, int32_t last, int32_t depth);
  void add_tail(const Pass& pass, int32_t span);

  std::vector<int32_t> common_;  // leading blocks that span i shares with span i − 1
  std::vector<PrefixGroup> groups_;
};

}  // namespace deepsearch
