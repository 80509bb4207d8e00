// A file whose writer was killed, written anew: every attribute and column as it is, without the rows that are not
// whole.
#include <algorithm>
#include <set>

#include "core/error.h"
#include "store/check_file.h"
#include "store/file_header.h"
#include "store/group_names.h"
#include "store/run_folder.h"

namespace deepsearch {
namespace {

constexpr hsize_t kBlockRows = 1 << 18;

struct Copy {
  hid_t from;
  hid_t to;
  Hdf5Place source;
  Hdf5Place target;
};

std::vector<std::string> attribute_names(hid_t object, const Hdf5Place& place) {
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5A_info_t*, void* data) -> herr_t {
    static_cast<std::vector<std::string>*>(data)->emplace_back(name);
    return 0;
  };
  check_hdf5(H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, nullptr, collect, &names), "list attributes", place);
  return names;
}

void copy_attributes(const Copy& copy) {
  for (const std::string& name : attribute_names(copy.from, copy.source)) {
    const Hdf5Place place = copy.source.at("attribute " + name);
    Hdf5Handle attribute(H5Aopen(copy.from, name.c_str(), H5P_DEFAULT), H5Aclose, "open", place);
    Hdf5Handle type(H5Aget_type(attribute.id()), H5Tclose, "read the type", place);
    Hdf5Handle space(H5Aget_space(attribute.id()), H5Sclose, "read the shape", place);
    const hssize_t count = H5Sget_simple_extent_npoints(space.id());
    if (count < 0 || H5Tis_variable_str(type.id()) > 0)
      bad_input("{}: not of a kind that this program writes", place.text());
    std::vector<char> bytes(static_cast<size_t>(count) * H5Tget_size(type.id()));
    check_hdf5(H5Aread(attribute.id(), type.id(), bytes.data()), "read", place);
    Hdf5Handle made(H5Acreate2(copy.to, name.c_str(), type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
                    "create an attribute", copy.target);
    check_hdf5(H5Awrite(made.id(), type.id(), bytes.data()), "write", copy.target);
  }
}

void copy_rows(const Copy& copy, hid_t type, int64_t rows) {
  Hdf5Handle from_space(H5Dget_space(copy.from), H5Sclose, "read the shape", copy.source);
  Hdf5Handle to_space(H5Dget_space(copy.to), H5Sclose, "read the shape", copy.target);
  std::vector<char> bytes;
  for (hsize_t first = 0; first < static_cast<hsize_t>(rows); first += kBlockRows) {
    const hsize_t count = std::min(kBlockRows, static_cast<hsize_t>(rows) - first);
    bytes.resize(count * H5Tget_size(type));
    Hdf5Handle memory(H5Screate_simple(1, &count, nullptr), H5Sclose, "make a shape", copy.target);
    for (const hid_t space : {from_space.id(), to_space.id()}) {
      check_hdf5(H5Sselect_hyperslab(space, H5S_SELECT_SET, &first, nullptr, &count, nullptr), "select rows",
                 copy.source);
    }
    check_hdf5(H5Dread(copy.from, type, memory.id(), from_space.id(), H5P_DEFAULT, bytes.data()), "read", copy.source);
    check_hdf5(H5Dwrite(copy.to, type, memory.id(), to_space.id(), H5P_DEFAULT, bytes.data()), "write", copy.target);
  }
}

void copy_column(const Copy& tables, const std::string& name, int64_t rows) {
  const Hdf5Place source = tables.source.at(tables.source.object + "/" + name);
  const Hdf5Place target = tables.target.at(source.object);
  Hdf5Handle from(H5Dopen2(tables.from, name.c_str(), H5P_DEFAULT), H5Dclose, "open", source);
  Hdf5Handle type(H5Dget_type(from.id()), H5Tclose, "read the type", source);
  Hdf5Handle creation(H5Dget_create_plist(from.id()), H5Pclose, "read the layout", source);
  const auto extent = static_cast<hsize_t>(rows);
  const hsize_t unlimited = H5S_UNLIMITED;
  Hdf5Handle space(H5Screate_simple(1, &extent, &unlimited), H5Sclose, "make a shape", target);
  Hdf5Handle to(H5Dcreate2(tables.to, name.c_str(), type.id(), space.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT),
                H5Dclose, "create a column", target);
  const Copy copy{from.id(), to.id(), source, target};
  copy_attributes(copy);
  copy_rows(copy, type.id(), rows);
  to.close(target);
}

void copy_table(const Copy& files, const std::string& path, int64_t rows) {
  const Hdf5Place source = files.source.at(path);
  const Hdf5Place target = files.target.at(path);
  Hdf5Handle from(H5Gopen2(files.from, path.c_str(), H5P_DEFAULT), H5Gclose, "open", source);
  Hdf5Handle to = create_group(files.to, path, target);
  const Copy copy{from.id(), to.id(), source, target};
  copy_attributes(copy);
  for (const std::string& name : names_in_group(files.from, path, files.source)) copy_column(copy, name, rows);
}

// A later minor version may have tables whose whole rows this program cannot tell.
void refuse_unknown_tables(hid_t file, const Hdf5Place& place, const FileFacts& facts) {
  for (const char* group : {"/", "/metrics"}) {
    if (H5Lexists(file, group, H5P_DEFAULT) <= 0 && std::string(group) != "/") continue;
    for (const std::string& name : names_in_group(file, group, place)) {
      const std::string path = std::string(group) == "/" ? "/" + name : std::string(group) + "/" + name;
      if (path == "/metrics" || path == "/parts" || facts.rows.contains(path)) continue;
      bad_input("{}: not mended: this program does not know the table, or could not read it", place.at(path).text());
    }
  }
}

void mark_as_ended(hid_t file, const std::filesystem::path& path, const FileFacts& facts, const Hdf5Place& place) {
  if (facts.is_run) {
    std::set<std::string> names;
    for (const auto& part : list_parts(path.parent_path())) names.insert(part.filename().string());
    link_parts(file, names, place);
    update_attribute(file, "stop_reason", "interrupted: killed", place);
  }
  update_attribute(file, "state", facts.is_run ? "interrupted" : kStateClosed, place);
  if (H5Aexists(file, "mended") > 0) {
    update_attribute(file, "mended", utc_now(), place);
  } else {
    write_attribute(file, "mended", utc_now(), place, kStateBytes);
  }
}

}  // namespace

void rewrite_file(const std::filesystem::path& path, const std::filesystem::path& target, const FileFacts& facts) {
  const Hdf5Place source{path.string(), "", true};
  const Hdf5Place place{target.string(), "", false};
  const Hdf5Handle from = open_hdf5(path, source);
  refuse_unknown_tables(from.id(), source, facts);
  Hdf5Handle to = create_hdf5(target, place);
  const Copy files{from.id(), to.id(), source, place};
  copy_attributes(files);
  for (const auto& [table, rows] : facts.rows) copy_table(files, table, rows);
  mark_as_ended(to.id(), path, facts, place);
  check_hdf5(H5Fflush(to.id(), H5F_SCOPE_LOCAL), "flush", place);
  to.close(place);
}

}  // namespace deepsearch
