#include "store/group_names.h"

#include "core/error.h"

namespace deepsearch {
namespace {

constexpr size_t kMaxNames = 1 << 20;

herr_t collect_name(hid_t /*group*/, const char* name, const H5L_info_t* /*info*/, void* data) {
  auto& names = *static_cast<std::vector<std::string>*>(data);
  names.emplace_back(name);
  return names.size() > kMaxNames ? 1 : 0;  // 1 stops the walk
}

}  // namespace

std::vector<std::string> names_in_group(hid_t file, const std::string& path, const Hdf5Place& where) {
  const Hdf5Place place = where.at(path);
  Hdf5Handle group(H5Gopen2(file, path.c_str(), H5P_DEFAULT), H5Gclose, "open", place);
  Hdf5Handle creation(H5Gget_create_plist(group.id()), H5Pclose, "read the properties", place);
  unsigned order = 0;
  check_hdf5(H5Pget_link_creation_order(creation.id(), &order), "read the properties", place);
  const H5_index_t index = (order & H5P_CRT_ORDER_TRACKED) != 0 ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME;
  std::vector<std::string> names;
  hsize_t position = 0;
  check_hdf5(H5Literate(group.id(), index, H5_ITER_INC, &position, collect_name, &names), "list", place);
  if (names.size() > kMaxNames) bad_input("{}: more than {} names", place.text(), kMaxNames);
  return names;
}

}  // namespace deepsearch
