// Which rows of a part's /trees are whole: trees lie one behind the other in every table they refer to. Internal to
// store/.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "store/rows.h"

namespace deepsearch {

struct RowCounts {
  int64_t nodes = 0;
  int64_t tokens = 0;
  int64_t recorded = 0;
  int64_t events = 0;
};

struct WholeTrees {
  size_t rows = 0;  // whole ones from the beginning
  RowCounts used;   // what they take of the other tables
  std::string why;  // what is wrong with the row after them; "" when all are whole
};

// `available`: rows of the other tables.
WholeTrees whole_trees(std::span<const TreeLine> lines, const RowCounts& available);

}  // namespace deepsearch
