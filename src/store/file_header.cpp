#include "store/file_header.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <unordered_map>

#include <fmt/format.h>

#include "core/error.h"
#include "core/version.h"

namespace deepsearch {
namespace {

constexpr size_t kMaxAttributeBytes = size_t{16} << 20;

std::vector<AttributeSchema> with_common(std::vector<AttributeSchema> own) {
  std::vector<AttributeSchema> all = {
      {"schema", "text", "kind of file"},
      {"schema_version", "int64[2]", "major, minor"},
      {"program_version", "text", "of the program that wrote the file"},
      {"revision", "text", "git revision of the program"},
      {"start_time", "text", "when the file was begun, UTC, ISO 8601"},
      {"seed", "uint64", "[run].seed; every random number of the run follows from it"},
      {"config", "text", "the resolved configuration, TOML"},
      {"rank_layout", "text", "ranks by role"},
      {"command_line", "text", "as it was started"},
      {"job_id", "text", "Slurm's, or empty"},
      {"hosts", "text", "host name and number of ranks, for each host", 1},
      {"libraries", "text", "name and version of HDF5, MPI, LibTorch and NCCL", 1},
      {"mended", "text", "when `deepsearch check --repair` mended the file, UTC; empty before", 1},
  };
  all.insert(all.end(), own.begin(), own.end());
  return all;
}

// The pieces every creation of an attribute shares.
Hdf5Handle new_attribute(hid_t object, const char* name, hid_t type, hid_t space, const Hdf5Place& place) {
  return Hdf5Handle(H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose, "create an attribute",
                    place);
}

void write_scalar(hid_t object, const char* name, hid_t type, const void* value, const Hdf5Place& where) {
  const Hdf5Place place = where.at(std::string("attribute ") + name);
  Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose, "make a scalar", place);
  Hdf5Handle attribute = new_attribute(object, name, type, space.id(), place);
  check_hdf5(H5Awrite(attribute.id(), type, value), "write", place);
}

Hdf5Handle open_attribute(hid_t object, const char* name, const Hdf5Place& place) {
  return Hdf5Handle(H5Aopen(object, name, H5P_DEFAULT), H5Aclose, "open", place);
}

// Reads `count` numbers of one native type; a different shape or class is bad input.
void read_numbers(hid_t object, const char* name, hid_t native, hssize_t count, void* values, const Hdf5Place& where) {
  const Hdf5Place place = where.at(std::string("attribute ") + name);
  Hdf5Handle attribute = open_attribute(object, name, place);
  Hdf5Handle type(H5Aget_type(attribute.id()), H5Tclose, "read the type", place);
  Hdf5Handle space(H5Aget_space(attribute.id()), H5Sclose, "read the shape", place);
  if (H5Tget_class(type.id()) != H5Tget_class(native) || H5Sget_simple_extent_npoints(space.id()) != count) {
    bad_input("{}: not {} number(s) of the kind docs/hdf5.md says", place.text(), count);
  }
  check_hdf5(H5Aread(attribute.id(), native, values), "read", place);
}

Hdf5Handle access_properties(const Hdf5Place& place) {
  Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "make properties", place);
  check_hdf5(H5Pset_libver_bounds(access.id(), H5F_LIBVER_V110, H5F_LIBVER_V110), "set the format version", place);
  // Locks where the file system has them: some parallel file systems have none, and one writer a file needs none.
  check_hdf5(H5Pset_file_locking(access.id(), true, true), "set file locking", place);
  check_hdf5(H5Pset_fclose_degree(access.id(), H5F_CLOSE_SEMI), "set the closing rule", place);
  return access;
}

std::string hdf5_version() {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("HDF5 {}.{}.{}", major, minor, release);
}

// "node1 x 4, node2 x 4", in order of the first rank of each.
std::string hosts_text(const std::vector<std::string>& hosts) {
  std::vector<std::pair<std::string, int>> counts;
  std::unordered_map<std::string, size_t> place_of;
  for (const std::string& host : hosts) {
    const auto [found, is_new] = place_of.try_emplace(host, counts.size());
    if (is_new) counts.emplace_back(host, 0);
    ++counts[found->second].second;
  }
  std::string text;
  for (const auto& [host, ranks] : counts) text += fmt::format("{}{} x {}", text.empty() ? "" : ", ", host, ranks);
  return text;
}

}  // namespace

const std::vector<AttributeSchema>& run_attributes() {
  static const std::vector<AttributeSchema> all = with_common({
      {"attempt", "int64", "1, and one more for each resume"},
      {"first_start_time", "text", "start_time of the first attempt"},
      {"state", "text", "finished, interrupted, or \"running or killed\""},
      {"stop_reason", "text", "why the run ended; empty until then"},
      {"wall_seconds", "float64", "s; wall time of this attempt; NaN until it ended"},
  });
  return all;
}

const std::vector<AttributeSchema>& part_attributes() {
  static const std::vector<AttributeSchema> all = with_common({
      {"rank", "int64", "world rank of the writer"},
      {"host", "text", "its host"},
      {"role", "text", "its role"},
      {"state", "text", "closed, or \"running or killed\""},
      {"level", "text", "all: whole trees; recorded: roots and the paths to recorded trajectories only", 1},
      {"mantissa_bits", "int64", "kept of /tokens/logprob and entropy; 23: all", 1},
  });
  return all;
}

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  const size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return std::string(text.data(), size);
}

Hdf5Handle create_hdf5(const std::filesystem::path& path, const Hdf5Place& place) {
  silence_hdf5();
  Hdf5Handle access = access_properties(place);
  check_hdf5(H5Pset_meta_block_size(access.id(), 1 << 16), "set the metadata block size", place);
  return Hdf5Handle(H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, access.id()), H5Fclose, "create the file",
                    place);
}

void start_swmr(const Hdf5Handle& file, const Hdf5Place& place) {
  check_hdf5(H5Fflush(file.id(), H5F_SCOPE_LOCAL), "flush", place);
  check_hdf5(H5Fstart_swmr_write(file.id()), "start single-writer multiple-reader mode", place);
}

Hdf5Handle reopen_hdf5(const std::filesystem::path& path, const Hdf5Place& place) {
  Hdf5Handle access = access_properties(place);
  return Hdf5Handle(H5Fopen(path.c_str(), H5F_ACC_RDWR, access.id()), H5Fclose, "open for writing", place);
}

Hdf5Handle create_group(hid_t file, const std::string& path, const Hdf5Place& place) {
  Hdf5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, "make properties", place);
  check_hdf5(H5Pset_create_intermediate_group(links.id(), 1), "ask for parent groups", place);
  Hdf5Handle order(H5Pcreate(H5P_GROUP_CREATE), H5Pclose, "make properties", place);
  check_hdf5(H5Pset_link_creation_order(order.id(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED),
             "keep the column order", place);
  return Hdf5Handle(H5Gcreate2(file, path.c_str(), links.id(), order.id(), H5P_DEFAULT), H5Gclose, "create a group",
                    place);
}

void link_parts(hid_t run, const std::set<std::string>& names, const Hdf5Place& place) {
  const Hdf5Handle group = create_group(run, "/parts", place.at("/parts"));
  for (const std::string& name : names) {
    check_hdf5(H5Lcreate_external(("parts/" + name).c_str(), "/", group.id(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
               "create a link", place.at("/parts/" + name));
  }
}

Hdf5Handle open_hdf5(const std::filesystem::path& path, const Hdf5Place& place) {
  silence_hdf5();
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) bad_input("{}: no such file", place.text());
  Hdf5Handle access = access_properties(place);
  // HDF5 reads a block whose checksum is wrong again, since its writer may be at it, and doubles the pause from 1 ns
  // on: 24 attempts are some 20 ms. Its default of 100 never ends on a damaged file.
  check_hdf5(H5Pset_metadata_read_attempts(access.id(), 24), "bound the read attempts", place);
  return Hdf5Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY | H5F_ACC_SWMR_READ, access.id()), H5Fclose,
                    "open the file (is it one of a run?)", place);
}

void write_header(hid_t file, const char* schema, const RunInfo& info, const Hdf5Place& place) {
  write_attribute(file, "schema", std::string(schema), place);
  const std::array<int64_t, 2> schema_version = {kSchemaMajor, kSchemaMinor};
  const hsize_t two = 2;
  const Hdf5Place version_place = place.at("attribute schema_version");
  Hdf5Handle space(H5Screate_simple(1, &two, nullptr), H5Sclose, "make a shape", version_place);
  Hdf5Handle attribute = new_attribute(file, "schema_version", H5T_STD_I64LE, space.id(), version_place);
  check_hdf5(H5Awrite(attribute.id(), H5T_NATIVE_INT64, schema_version.data()), "write", version_place);

  write_attribute(file, "program_version", std::string(version()), place);
  write_attribute(file, "revision", info.revision, place);
  write_attribute(file, "start_time", utc_now(), place);
  write_attribute(file, "seed", info.seed, place);
  write_attribute(file, "config", info.config_text, place);
  write_attribute(file, "rank_layout", info.rank_layout, place);
  write_attribute(file, "command_line", info.command_line, place);
  write_attribute(file, "job_id", info.job_id, place);
  write_attribute(file, "hosts", hosts_text(info.hosts), place);
  write_attribute(file, "libraries", hdf5_version() + (info.libraries.empty() ? "" : ", " + info.libraries), place);
  write_attribute(file, "mended", std::string(), place, kStateBytes);
}

int64_t check_header(hid_t file, const char* schema, const Hdf5Place& place) {
  const std::string found = read_text_attribute(file, "schema", place);
  if (found != schema) bad_input("{}: the file's schema is '{}', expected '{}'", place.text(), found, schema);
  std::array<int64_t, 2> found_version{};
  read_numbers(file, "schema_version", H5T_NATIVE_INT64, 2, found_version.data(), place);
  if (found_version[0] != kSchemaMajor) {
    bad_input("{}: schema version {}.{}; this program reads version {} (a {} program is needed)", place.text(),
              found_version[0], found_version[1], kSchemaMajor, found_version[0] > kSchemaMajor ? "newer" : "older");
  }
  return found_version[1];
}

RunInfo read_header(hid_t file, const Hdf5Place& place) {
  RunInfo info;
  info.config_text = read_text_attribute(file, "config", place);
  info.seed = read_uint_attribute(file, "seed", place);
  info.revision = read_text_attribute(file, "revision", place);
  info.rank_layout = read_text_attribute(file, "rank_layout", place);
  info.command_line = read_text_attribute(file, "command_line", place);
  info.job_id = read_text_attribute(file, "job_id", place);
  return info;
}

void write_attribute(hid_t object, const char* name, const std::string& text, const Hdf5Place& where,
                     size_t least_bytes) {
  const Hdf5Place place = where.at(std::string("attribute ") + name);
  std::string padded = text;
  padded.resize(std::max({size_t{1}, least_bytes, text.size()}), '\0');
  Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "copy a type", place);
  check_hdf5(H5Tset_size(type.id(), padded.size()), "size a text", place);
  check_hdf5(H5Tset_cset(type.id(), H5T_CSET_UTF8), "make a text UTF-8", place);
  check_hdf5(H5Tset_strpad(type.id(), H5T_STR_NULLPAD), "pad a text", place);
  write_scalar(object, name, type.id(), padded.data(), where);
}

void write_attribute(hid_t object, const char* name, int64_t value, const Hdf5Place& place) {
  write_scalar(object, name, H5T_STD_I64LE, &value, place);
}

void write_attribute(hid_t object, const char* name, uint64_t value, const Hdf5Place& place) {
  write_scalar(object, name, H5T_STD_U64LE, &value, place);
}

void write_attribute(hid_t object, const char* name, double value, const Hdf5Place& place) {
  write_scalar(object, name, H5T_IEEE_F64LE, &value, place);
}

void update_attribute(hid_t object, const char* name, const std::string& text, const Hdf5Place& where) {
  const Hdf5Place place = where.at(std::string("attribute ") + name);
  Hdf5Handle attribute = open_attribute(object, name, place);
  Hdf5Handle type(H5Aget_type(attribute.id()), H5Tclose, "read the type", place);
  std::string padded = text;
  padded.resize(H5Tget_size(type.id()), '\0');
  check_hdf5(H5Awrite(attribute.id(), type.id(), padded.data()), "write", place);
}

void update_attribute(hid_t object, const char* name, double value, const Hdf5Place& where) {
  const Hdf5Place place = where.at(std::string("attribute ") + name);
  Hdf5Handle attribute = open_attribute(object, name, place);
  check_hdf5(H5Awrite(attribute.id(), H5T_NATIVE_DOUBLE, &value), "write", place);
}

std::string read_text_attribute(hid_t object, const char* name, const Hdf5Place& where) {
  const Hdf5Place place = where.at(std::string("attribute ") + name);
  Hdf5Handle attribute = open_attribute(object, name, place);
  Hdf5Handle type(H5Aget_type(attribute.id()), H5Tclose, "read the type", place);
  Hdf5Handle space(H5Aget_space(attribute.id()), H5Sclose, "read the shape", place);
  if (H5Tget_class(type.id()) != H5T_STRING || H5Tis_variable_str(type.id()) != 0 ||
      H5Sget_simple_extent_npoints(space.id()) != 1) {
    bad_input("{}: not one text of fixed length", place.text());
  }
  const size_t size = H5Tget_size(type.id());
  if (size == 0 || size > kMaxAttributeBytes) {
    bad_input("{}: a text of {} bytes; at most {} are read", place.text(), size, kMaxAttributeBytes);
  }
  std::string text(size, '\0');
  check_hdf5(H5Aread(attribute.id(), type.id(), text.data()), "read", place);
  text.resize(std::min(text.size(), text.find('\0')));
  return text;
}

int64_t read_int_attribute(hid_t object, const char* name, const Hdf5Place& place) {
  int64_t value = 0;
  read_numbers(object, name, H5T_NATIVE_INT64, 1, &value, place);
  return value;
}

uint64_t read_uint_attribute(hid_t object, const char* name, const Hdf5Place& place) {
  uint64_t value = 0;
  read_numbers(object, name, H5T_NATIVE_UINT64, 1, &value, place);
  return value;
}

}  // namespace deepsearch
