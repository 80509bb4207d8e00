#include "store/run_writer.h"

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_set>

#include "core/error.h"
#include "core/timer.h"
#include "store/column_table.h"
#include "store/evaluation_tables.h"
#include "store/file_header.h"
#include "store/problem_tables.h"
#include "store/readers.h"
#include "store/run_folder.h"
#include "store/writer_guard.h"
#include "store/writer_lock.h"

namespace deepsearch {
namespace {

constexpr size_t kStopReasonBytes = 512;

std::string first_start_time(const std::filesystem::path& path) {
  const Hdf5Place place{path.string(), "", true};
  const Hdf5Handle file = open_hdf5(path, place);
  return read_text_attribute(file.id(), "first_start_time", place);
}

}  // namespace

struct RunWriter::Impl {
  std::filesystem::path folder;
  std::filesystem::path path;
  std::filesystem::path temporary;
  Hdf5Place place;
  Hdf5Handle file;  // before the tables: datasets are closed first
  std::map<std::string, TableWriter> metrics;
  std::optional<ProblemWriter> problems;
  std::unordered_set<uint64_t> problem_keys;
  WriterLock lock;
  WriterGuard guard;

  void create(const RunInfo& info, const std::map<std::string, std::vector<std::string>>& tables,
              const std::optional<KeptRows>& kept);
  void write_run_attributes(const RunReader* earlier);
  void write_ranks(const RunInfo& info);
  void carry_over(const RunReader& earlier, const KeptRows& kept);
  void append(const std::string& table, const MetricsRow& row);
  void add_problem(const Problem& problem, const std::string& split, double base_pass_rate);
  void publish();
  void close_tables();
  void finish(const std::string& how, double seconds, const std::vector<std::string>& parts,
              const EvaluationTables* evaluation);
};

// Under a temporary name first: the file takes its name once readers may open it, and an earlier attempt's file is
// whole until that moment.
void RunWriter::Impl::create(const RunInfo& info, const std::map<std::string, std::vector<std::string>>& tables,
                             const std::optional<KeptRows>& kept) {
  std::optional<RunReader> earlier;
  if (std::filesystem::exists(path)) {
    if (!kept) bad_input("{}: exists already; use another folder, --resume or --force", path.string());
    earlier.emplace(folder);
  }
  std::error_code error;
  std::filesystem::remove(temporary, error);
  file = create_hdf5(temporary, place);
  write_header(file.id(), kRunSchema, info, place);
  write_run_attributes(earlier ? &*earlier : nullptr);
  for (const auto& [name, columns] : tables) metric_columns(name);  // unknown tables are refused
  for (const std::string& name : metric_tables()) {
    const auto chosen = tables.find(name);
    const auto& columns = chosen == tables.end() ? metric_columns(name) : chosen->second;
    metrics.emplace(name, TableWriter(file.id(), place, metrics_schema(name, columns)));
  }
  problems.emplace(file.id(), place, run_tables());
  write_ranks(info);
  start_swmr(file, place);
  lock.take(temporary);
  if (earlier) carry_over(*earlier, *kept);
  publish();
  std::filesystem::rename(temporary, path, error);
  if (error) failure("{}: cannot rename {} to it: {}", path.string(), temporary.string(), error.message());
}

void RunWriter::Impl::write_run_attributes(const RunReader* earlier) {
  write_attribute(file.id(), "attempt", earlier == nullptr ? int64_t{1} : earlier->attempt() + 1, place);
  write_attribute(file.id(), "first_start_time", earlier == nullptr ? utc_now() : first_start_time(path), place);
  write_attribute(file.id(), "state", std::string(kStateRunning), place, kStateBytes);
  write_attribute(file.id(), "stop_reason", std::string(), place, kStopReasonBytes);
  write_attribute(file.id(), "wall_seconds", std::numeric_limits<double>::quiet_NaN(), place);
}

void RunWriter::Impl::write_ranks(const RunInfo& info) {
  if (info.hosts.size() != info.roles.size()) {
    failure("{}: {} hosts and {} roles; both are by rank", path.string(), info.hosts.size(), info.roles.size());
  }
  TableWriter ranks(file.id(), place, table_schema(run_tables(), "/ranks"));
  for (size_t rank = 0; rank < info.hosts.size(); ++rank) {
    ranks.append(
        RankLine{static_cast<int32_t>(rank), fixed_text<16>(info.roles[rank]), fixed_text<128>(info.hosts[rank])});
  }
  ranks.publish();
  ranks.close();
}

void RunWriter::Impl::carry_over(const RunReader& earlier, const KeptRows& kept) {
  for (const std::string& table : earlier.tables()) {
    const bool by_round = table == "rounds";
    const int64_t last = by_round ? kept.rounds - 1 : table == "eval" ? kept.evaluated : kept.step;
    const auto target = metrics.find(table);
    if (target == metrics.end()) continue;
    const std::vector<std::string> names = earlier.columns(table);
    std::map<std::string, std::vector<double>> values;
    for (const std::string& name : names) values[name] = earlier.column(table, name);
    const size_t rows = values.empty() ? 0 : values.begin()->second.size();
    for (size_t i = 0; i < rows; ++i) {
      const auto number = values.find(by_round ? "round" : "step");
      if (number != values.end() && !(number->second[i] <= static_cast<double>(last))) continue;
      MetricsRow row;
      for (const ColumnSchema& column : target->second.schema().columns) {
        const auto found = values.find(column.name);
        row.emplace_back(column.name,
                         found == values.end() ? std::numeric_limits<double>::quiet_NaN() : found->second[i]);
      }
      append(table, row);
    }
  }
  for (const RunReader::ProblemRow& row : earlier.problems()) add_problem(row.problem, row.split, row.base_pass_rate);
}

void RunWriter::Impl::append(const std::string& table, const MetricsRow& row) {
  const auto found = metrics.find(table);
  if (found == metrics.end()) failure("{}: no metrics table '{}'", path.string(), table);
  const std::vector<ColumnSchema>& columns = found->second.schema().columns;
  std::vector<const double*> values(columns.size(), nullptr);
  for (const auto& [name, value] : row) {
    const auto column = std::find_if(columns.begin(), columns.end(),
                                     [&wanted = name](const ColumnSchema& schema) { return schema.name == wanted; });
    if (column == columns.end()) failure("{}: metrics table '{}' has no column '{}'", path.string(), table, name);
    const double*& slot = values[static_cast<size_t>(column - columns.begin())];
    if (slot != nullptr) failure("{}: metrics table '{}': '{}' is given twice in a row", path.string(), table, name);
    slot = &value;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] == nullptr)
      failure("{}: metrics table '{}': a row lacks '{}'", path.string(), table, columns[i].name);
  }
  for (size_t i = 0; i < values.size(); ++i) found->second.append_column(i, values[i], sizeof(double));
  found->second.commit_columns(1);
}

void RunWriter::Impl::add_problem(const Problem& problem, const std::string& split, double base_pass_rate) {
  if (!problem_keys.insert(problem.key).second) return;
  RunProblemLine line;
  line.split = fixed_text<16>(split);
  line.base_pass_rate = base_pass_rate;
  problems->add(problem, line);
}

void RunWriter::Impl::publish() {
  problems->publish();
  for (auto& [name, table] : metrics) table.publish();
}

void RunWriter::Impl::close_tables() {
  publish();
  check_hdf5(H5Fflush(file.id(), H5F_SCOPE_LOCAL), "flush", place);  // closing has nothing left to write
  problems->close();
  for (auto& [name, table] : metrics) table.close();
  file.close(place);
}

// Links are new objects, which SWMR forbids, and a kill of a plain writer could leave a file that nobody can open: the
// end is written to a copy, which takes the name in one stroke.
void RunWriter::Impl::finish(const std::string& how, double seconds, const std::vector<std::string>& parts,
                             const EvaluationTables* evaluation) {
  std::set<std::string> names;
  for (const std::string& part : parts) names.insert(std::filesystem::path(part).filename().string());
  for (const std::filesystem::path& part : list_parts(folder)) names.insert(part.filename().string());
  std::error_code error;
  std::filesystem::copy_file(path, temporary, std::filesystem::copy_options::overwrite_existing, error);
  if (error) failure("{}: cannot copy it to {}: {}", path.string(), temporary.string(), error.message());
  Hdf5Handle run = reopen_hdf5(temporary, place);
  link_parts(run.id(), names, place);
  if (evaluation != nullptr) write_evaluation(run.id(), *evaluation, place);
  update_attribute(run.id(), "stop_reason", how, place);
  update_attribute(run.id(), "wall_seconds", seconds, place);
  update_attribute(run.id(), "state", how.substr(0, how.find(':')), place);
  run.close(place);
  std::filesystem::rename(temporary, path, error);
  if (error) failure("{}: cannot rename {} to it: {}", path.string(), temporary.string(), error.message());
  lock.release();
}

RunWriter::RunWriter(const std::filesystem::path& folder, const RunInfo& info,
                     const std::map<std::string, std::vector<std::string>>& tables, const std::optional<KeptRows>& kept)
    : impl_(std::make_unique<Impl>()) {
  impl_->folder = folder;
  impl_->path = folder / "run.h5";
  impl_->temporary = folder / "run.h5.tmp";
  impl_->place.file = impl_->path.string();
  try {
    impl_->guard.run([&] { impl_->create(info, tables, kept); });
  } catch (const Error&) {
    std::error_code ignored;
    std::filesystem::remove(impl_->temporary, ignored);
    throw;
  }
}

RunWriter::~RunWriter() {
  try {
    if (!impl_->guard.broken() && impl_->file.id() >= 0) impl_->close_tables();
  } catch (const std::exception&) {
    abandon(std::move(impl_));  // nobody is left to tell; what was flushed is readable
    return;
  }
  if (impl_->guard.broken()) abandon(std::move(impl_));
}

void RunWriter::append(const std::string& table, const MetricsRow& row) {
  impl_->guard.run([&] { impl_->append(table, row); });
}

void RunWriter::add_problem(const Problem& problem, const std::string& split, double base_pass_rate) {
  impl_->guard.run([&] { impl_->add_problem(problem, split, base_pass_rate); });
}

void RunWriter::flush() {
  impl_->guard.run([&] { impl_->publish(); });
}

void RunWriter::finish(const std::string& how, double seconds, const std::vector<std::string>& parts,
                       const EvaluationTables* evaluation) {
  const std::string state = how.substr(0, how.find(':'));
  if (state != "finished" && state != "interrupted") {
    failure("{}: a run ends 'finished' or 'interrupted', not '{}'", impl_->path.string(), how);
  }
  impl_->guard.run([&] {
    if (impl_->file.id() < 0) failure("{}: finished twice", impl_->path.string());
    impl_->close_tables();
    impl_->finish(how, seconds, parts, evaluation);
  });
}

double RunWriter::seconds_spent() const {
  return impl_->guard.seconds();
}

}  // namespace deepsearch
