#include <limits>
#include <map>
#include <utility>

#include "core/error.h"
#include "store/column_table.h"
#include "store/file_header.h"
#include "store/group_names.h"
#include "store/metrics.h"
#include "store/problem_tables.h"
#include "store/readers.h"
#include "store/run_folder.h"

namespace deepsearch {
namespace {

constexpr size_t kMaxColumns = 1024;

}  // namespace

struct RunReader::Impl {
  std::filesystem::path folder;
  Hdf5Place place;
  uint64_t file_bytes = 0;
  Hdf5Handle file;
  RunInfo info;
  std::map<std::string, TableReader> metrics;

  explicit Impl(const std::filesystem::path& run_folder) : folder(run_folder) {
    const std::filesystem::path path = folder / "run.h5";
    place = {path.string(), "", true};
    file = open_hdf5(path, place);
    check_header(file.id(), kRunSchema, place);
    file_bytes = std::filesystem::file_size(path);
    info = read_header(file.id(), place);
    for (const std::string& name : metric_tables()) {
      if (H5Lexists(file.id(), ("/metrics/" + name).c_str(), H5P_DEFAULT) == 0 && name == "rounds")
        continue;  // since 1.2
      metrics.emplace(name, TableReader(file.id(), place, found_schema(name), file_bytes));
    }
    const TableReader ranks(file.id(), place, table_schema(run_tables(), "/ranks"), file_bytes);
    for (const RankLine& line : ranks.read<RankLine>(0, ranks.lines())) {
      info.hosts.push_back(to_text(line.host));
      info.roles.push_back(to_text(line.role));
    }
  }

  // Columns as they are in the file: a run chooses its own, and a newer minor version may know more.
  TableSchema found_schema(const std::string& table) const {
    TableSchema schema{"/metrics/" + table, "", 0, 0, {}};
    const std::vector<std::string> names = names_in_group(file.id(), schema.path, place);
    if (names.size() > kMaxColumns) bad_input("{}: more than {} columns", place.at(schema.path).text(), kMaxColumns);
    for (const std::string& name : names) {
      schema.columns.push_back({name, ColumnKind::kFloat64, 8, {}, "", ""});
    }
    if (schema.columns.empty()) bad_input("{}: no columns", place.at(schema.path).text());
    return schema;
  }

  const TableReader& table(const std::string& name) const {
    const auto found = metrics.find(name);
    if (found == metrics.end()) {
      bad_input("{}: no metrics table '{}'; there are learner, search, eval and rounds", place.text(), name);
    }
    return found->second;
  }
};

RunReader::RunReader(const std::filesystem::path& folder) : impl_(std::make_unique<Impl>(folder)) {}
RunReader::~RunReader() = default;
RunReader::RunReader(RunReader&&) noexcept = default;
RunReader& RunReader::operator=(RunReader&&) noexcept = default;

const RunInfo& RunReader::info() const {
  return impl_->info;
}

std::string RunReader::state() const {
  return read_text_attribute(impl_->file.id(), "state", impl_->place);
}

std::string RunReader::stop_reason() const {
  return read_text_attribute(impl_->file.id(), "stop_reason", impl_->place);
}

int64_t RunReader::attempt() const {
  return read_int_attribute(impl_->file.id(), "attempt", impl_->place);
}

std::vector<std::string> RunReader::tables() const {
  std::vector<std::string> names;
  for (const std::string& name : metric_tables()) {
    if (impl_->metrics.contains(name)) names.push_back(name);
  }
  return names;
}

std::vector<std::string> RunReader::columns(const std::string& table) const {
  std::vector<std::string> names;
  for (const ColumnSchema& column : impl_->table(table).schema().columns) names.push_back(column.name);
  return names;
}

std::vector<double> RunReader::column(const std::string& table, const std::string& name) const {
  const TableReader& reader = impl_->table(table);
  const std::vector<ColumnSchema>& columns = reader.schema().columns;
  for (size_t index = 0; index < columns.size(); ++index) {
    if (columns[index].name != name) continue;
    std::vector<double> values(static_cast<size_t>(reader.lines()));
    reader.read_column(index, 0, reader.lines(), values.data());
    return values;
  }
  bad_input("{}: no column '{}'", impl_->place.at(reader.schema().path).text(), name);
}

std::vector<RunReader::ProblemRow> RunReader::problems() const {
  const ProblemReader reader(impl_->file.id(), impl_->place, run_tables(), impl_->file_bytes);
  std::vector<ProblemRow> rows;
  for (int64_t row = 0; row < reader.lines(); ++row) {
    RunProblemLine line;
    Problem problem = reader.read(row, line);
    rows.push_back({std::move(problem), to_text(line.split), line.base_pass_rate});
  }
  return rows;
}

std::vector<std::filesystem::path> RunReader::parts() const {
  return list_parts(impl_->folder);
}

}  // namespace deepsearch
