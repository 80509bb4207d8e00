// Writing /evaluation into a file that nobody reads yet. Internal to store/.
#pragma once

#include "store/evaluation.h"
#include "store/handles.h"

namespace deepsearch {

void write_evaluation(hid_t file, const EvaluationTables& tables, const Hdf5Place& place);

}  // namespace deepsearch
