// Listing a group. Internal to store/.
#pragma once

#include <string>
#include <vector>

#include "store/handles.h"

namespace deepsearch {

// Names of the links in a group, in order of creation where the file keeps it, else by name. More than 2^20: bad input.
std::vector<std::string> names_in_group(hid_t file, const std::string& path, const Hdf5Place& where);

}  // namespace deepsearch
