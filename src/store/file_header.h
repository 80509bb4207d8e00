// A run's HDF5 files as files: creation, SWMR, the attributes at their root, opening and version checks. Internal to
// store/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "store/handles.h"
#include "store/run_info.h"
#include "store/schema.h"

namespace deepsearch {

// Attributes are texts of fixed length, 64-bit integers or doubles; all are made before SWMR begins, which forbids new
// ones.
const std::vector<AttributeSchema>& run_attributes();
const std::vector<AttributeSchema>& part_attributes();

inline constexpr const char* kStateClosed = "closed";
inline constexpr const char* kStateRunning = "running or killed";
inline constexpr size_t kStateBytes = 32;

std::string utc_now();  // "2025-03-01T12:30:01Z"

// Creates `path`, which must not exist, for one writer. The format is HDF5 1.10's whatever the library, so that older
// readers open it. Locks are used where the file system has them.
Hdf5Handle create_hdf5(const std::filesystem::path& path, const Hdf5Place& place);
// From now on readers may open the file, and no object may be added.
void start_swmr(const Hdf5Handle& file, const Hdf5Place& place);
// For the owner, after a clean close: attributes and links of the end.
Hdf5Handle reopen_hdf5(const std::filesystem::path& path, const Hdf5Place& place);
// A group that keeps the order its members were made in, and its parents.
Hdf5Handle create_group(hid_t file, const std::string& path, const Hdf5Place& place);
// /parts of run.h5: an external link to each, relative to run.h5, so that the folder may be moved.
void link_parts(hid_t run, const std::set<std::string>& names, const Hdf5Place& place);
// For readers, also while the file grows or after its writer was killed. Missing, unreadable or foreign: bad input.
Hdf5Handle open_hdf5(const std::filesystem::path& path, const Hdf5Place& place);

// `schema`, `schema_version`, program, times and everything of RunInfo but hosts and roles.
void write_header(hid_t file, const char* schema, const RunInfo& info, const Hdf5Place& place);
// Refuses another schema and another major version; the file's minor version.
int64_t check_header(hid_t file, const char* schema, const Hdf5Place& place);
RunInfo read_header(hid_t file, const Hdf5Place& place);

// `least_bytes`: room for a longer text later.
void write_attribute(hid_t object, const char* name, const std::string& text, const Hdf5Place& place,
                     size_t least_bytes = 1);
void write_attribute(hid_t object, const char* name, int64_t value, const Hdf5Place& place);
void write_attribute(hid_t object, const char* name, uint64_t value, const Hdf5Place& place);
void write_attribute(hid_t object, const char* name, double value, const Hdf5Place& place);
// Overwrites an existing text in place, cut to its room; allowed under SWMR.
void update_attribute(hid_t object, const char* name, const std::string& text, const Hdf5Place& place);
void update_attribute(hid_t object, const char* name, double value, const Hdf5Place& place);
std::string read_text_attribute(hid_t object, const char* name, const Hdf5Place& place);
int64_t read_int_attribute(hid_t object, const char* name, const Hdf5Place& place);
uint64_t read_uint_attribute(hid_t object, const char* name, const Hdf5Place& place);

}  // namespace deepsearch
