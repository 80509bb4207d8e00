#include "store/part_rows.h"

#include <limits>

#include <fmt/format.h>

namespace deepsearch {

WholeTrees whole_trees(std::span<const TreeLine> lines, const RowCounts& available) {
  struct Range {
    const char* name;
    int64_t TreeLine::*first;
    int64_t TreeLine::*count;
    int64_t RowCounts::*rows;
  };
  constexpr Range kRanges[] = {{"node", &TreeLine::first_node, &TreeLine::n_nodes, &RowCounts::nodes},
                               {"token", &TreeLine::first_token, &TreeLine::n_tokens, &RowCounts::tokens},
                               {"recorded", &TreeLine::first_recorded, &TreeLine::n_recorded, &RowCounts::recorded},
                               {"event", &TreeLine::first_event, &TreeLine::n_events, &RowCounts::events}};
  WholeTrees whole;
  for (const TreeLine& line : lines) {
    RowCounts used = whole.used;
    for (const Range& range : kRanges) {
      const int64_t first = line.*range.first;
      const int64_t count = line.*range.count;
      const int64_t next = used.*range.rows;
      const int64_t left = available.*range.rows - next;
      if (first != next || count < 0 || count > std::numeric_limits<int32_t>::max() || count > left) {
        whole.why = fmt::format("row {}: first_{} {} and a count of {}; expected {} and at most {}", whole.rows,
                                range.name, first, count, next, left);
        return whole;
      }
      used.*range.rows = next + count;
    }
    whole.used = used;
    ++whole.rows;
  }
  return whole;
}

}  // namespace deepsearch
