// Whether a tree record makes sense in itself: what messages and files that hold one are held to.
#pragma once

#include <string>

#include "data/tree_record.h"

namespace deepsearch {

enum class Columns { kAll, kSomeLeftOut };  // beside tokens; a message leaves out those that its reader does not need

// What contradicts itself, as part of a line: references that lead out of the record or not to an earlier node, columns
// of other lengths, values outside an enum. "" when all is well; a record without a node is.
std::string contradiction(const TreeRecord& tree, Columns columns);

}  // namespace deepsearch
