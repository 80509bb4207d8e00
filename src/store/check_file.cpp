#include "store/check_file.h"

#include <algorithm>
#include <memory>

#include "core/error.h"
#include "store/file_header.h"
#include "store/writer_lock.h"

namespace deepsearch {
namespace {

constexpr size_t kMaxLines = 20;

H5T_class_t class_of(const std::string& type) {
  if (type == "text") return H5T_STRING;
  return type == "float64" ? H5T_FLOAT : H5T_INTEGER;
}

void check_attributes(hid_t file, const Hdf5Place& place, bool is_run, int64_t minor, Findings& findings) {
  for (const AttributeSchema& schema : is_run ? run_attributes() : part_attributes()) {
    const Hdf5Place at = place.at("attribute " + schema.name);
    if (H5Aexists(file, schema.name.c_str()) <= 0) {
      if (schema.since_minor <= minor) findings.add(at, "missing; docs/hdf5.md has it as {}", schema.type);
      continue;
    }
    Hdf5Handle attribute(H5Aopen(file, schema.name.c_str(), H5P_DEFAULT), H5Aclose, "open", at);
    Hdf5Handle type(H5Aget_type(attribute.id()), H5Tclose, "read the type", at);
    if (H5Tget_class(type.id()) != class_of(schema.type)) findings.add(at, "is not {}", schema.type);
  }
}

void check_column_notes(hid_t file, const Hdf5Place& place, const TableSchema& schema, Findings& findings) {
  for (const ColumnSchema& column : schema.columns) {
    if (column.optional) continue;
    const std::string path = schema.path + "/" + column.name;
    for (const char* note : {"units", "description"}) {
      if (H5Aexists_by_name(file, path.c_str(), note, H5P_DEFAULT) <= 0) {
        findings.add(place.at(path), "the attribute {} is missing", note);
      }
    }
  }
}

FileState state_of(const std::string& state, const std::filesystem::path& path) {
  if (state != kStateRunning) return FileState::kClosed;
  return is_being_written(path) ? FileState::kLive : FileState::kKilled;
}

void check_open_file(hid_t file, const Hdf5Place& place, Findings& findings, InnerReport& inner) {
  FileFacts& facts = inner.facts;
  if (H5Aexists(file, "schema") <= 0)
    bad_input("{}: an HDF5 file of something else: no attribute 'schema'", place.text());
  const std::string kind = read_text_attribute(file, "schema", place);
  facts.is_run = kind == kRunSchema;
  const int64_t minor = check_header(file, facts.is_run ? kRunSchema : kPartSchema, place);
  facts.state = read_text_attribute(file, "state", place);
  inner.report.state = state_of(facts.state, inner.report.path);
  facts.seed = read_uint_attribute(file, "seed", place);
  check_attributes(file, place, facts.is_run, minor, findings);
  const bool cut = inner.report.state != FileState::kClosed;
  const uint64_t bytes = std::filesystem::file_size(inner.report.path);
  if (facts.is_run) {
    check_run_tables(file, place, bytes, cut, findings, inner);
  } else {
    facts.rank = read_int_attribute(file, "rank", place);
    check_part_tables(file, place, bytes, cut, findings, inner);
  }
}

}  // namespace

void Findings::add_line(std::string line) {
  if (lines_.size() == kMaxLines) {
    ++left_out_;
    return;
  }
  // HDF5's texts and damaged names may have anything in them.
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20; }, ' ');
  if (only_first_) bad_input("{}", line);
  lines_.push_back(std::move(line));
}

std::vector<std::string> Findings::take() {
  if (left_out_ > 0) lines_.push_back(fmt::format("… and {} more like these", left_out_));
  return std::move(lines_);
}

std::unique_ptr<TableReader> open_table(hid_t file, const Hdf5Place& place, const TableSchema& schema,
                                        uint64_t file_bytes, bool cut, Findings& findings) {
  try {
    auto table = std::make_unique<TableReader>(file, place, schema, file_bytes);
    check_column_notes(file, place, schema, findings);
    for (size_t i = 0; !cut && i < schema.columns.size(); ++i) {
      if (table->column_lines(i) == table->lines()) continue;
      findings.add(place.at(schema.path + "/" + schema.columns[i].name), "{} rows; the table's shortest column has {}",
                   table->column_lines(i), table->lines());
    }
    return table;
  } catch (const Error& error) {
    findings.add_line(error.what());
    return nullptr;
  }
}

InnerReport check_file_here(const std::filesystem::path& path, bool only_first) {
  InnerReport inner;
  inner.report.path = path;
  const Hdf5Place place{path.string(), "", true};
  Findings findings(only_first);
  try {
    std::error_code error;
    if (std::filesystem::is_regular_file(path, error) && std::filesystem::file_size(path, error) == 0) {
      bad_input("{}: empty; a file of a run has its tables from the start", place.text());
    }
    const Hdf5Handle file = open_hdf5(path, place);
    check_open_file(file.id(), place, findings, inner);
  } catch (const Error& error) {
    if (only_first) throw;
    inner.report.state = FileState::kDamaged;
    findings.add_line(error.what());
  }
  inner.report.findings = findings.take();
  return inner;
}

}  // namespace deepsearch
