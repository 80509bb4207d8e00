// The tables that run.h5 has, and the problems that both kinds of file have.
#include <algorithm>
#include <cmath>
#include <memory>
#include <unordered_set>

#include "core/error.h"
#include "core/words.h"
#include "store/check_file.h"
#include "store/evaluation_rows.h"
#include "store/group_names.h"
#include "store/metrics.h"

namespace deepsearch {
namespace {

int64_t cells(const TableReader& table) {
  int64_t sum = 0;
  for (size_t i = 0; i < table.schema().columns.size(); ++i) sum += table.column_lines(i);
  return sum;
}

void keep(const TableReader& table, int64_t rows, FileFacts& facts) {
  facts.rows[table.schema().path] = rows;
  facts.left_rows += cells(table) - rows * static_cast<int64_t>(table.schema().columns.size());
}

// A run chooses its columns, and a later minor version may know more: what is there is checked.
void check_metrics(hid_t file, const Hdf5Place& place, const std::string& name, uint64_t file_bytes, bool cut,
                   Findings& findings, FileFacts& facts, std::string& contents) {
  TableSchema schema{"/metrics/" + name, "", 0, 0, {}};
  for (const std::string& column : names_in_group(file, schema.path, place)) {
    schema.columns.push_back({column, ColumnKind::kFloat64, 8, {}, "", ""});
  }
  if (schema.columns.empty()) {
    findings.add(place.at(schema.path), "no columns");
    return;
  }
  const auto table = open_table(file, place, schema, file_bytes, cut, findings);
  if (table == nullptr) return;
  int64_t rows = table->lines();
  const auto step = std::find_if(schema.columns.begin(), schema.columns.end(),
                                 [](const ColumnSchema& column) { return column.name == "step"; });
  if (step != schema.columns.end()) {
    std::vector<double> steps(static_cast<size_t>(rows));
    table->read_column(static_cast<size_t>(step - schema.columns.begin()), 0, rows, steps.data());
    while (cut && rows > 0 && std::isnan(steps[static_cast<size_t>(rows - 1)])) --rows;  // never written
    for (int64_t row = 1; row < rows; ++row) {
      const double before = steps[static_cast<size_t>(row - 1)];
      const double here = steps[static_cast<size_t>(row)];
      if (!(here >= before)) {
        findings.add(place.at(schema.path + "/step"), "row {}: {} after {}; steps never fall", row, here, before);
      }
    }
  }
  keep(*table, rows, facts);
  contents += fmt::format("{} rows of {}, ", rows, name);
}

void check_ranks(hid_t file, const Hdf5Place& place, uint64_t file_bytes, Findings& findings, FileFacts& facts) {
  const auto table = open_table(file, place, table_schema(run_tables(), "/ranks"), file_bytes, false, findings);
  if (table == nullptr) return;
  const std::vector<RankLine> lines = table->read<RankLine>(0, table->lines());
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].rank != static_cast<int32_t>(i)) {
      findings.add(place.at("/ranks/rank"), "row {}: {}; expected {}", i, lines[i].rank, i);
    }
  }
  facts.ranks = table->lines();
  keep(*table, table->lines(), facts);
}

struct Texts {
  int64_t bytes = 0;
  int64_t tokens = 0;
};

// "" or what is wrong with the row; its texts follow those of the row before.
std::string check_problem(const ProblemLine& line, const Texts& used, const Texts& available) {
  int64_t bytes = 0;
  for (const int64_t part : {line.id_bytes, line.source_bytes, line.prompt_bytes, line.answer_bytes}) {
    if (part < 0 || part > available.bytes) {
      return fmt::format("a text of {} bytes; /problem_text has {}", part, available.bytes);
    }
    bytes += part;
  }
  if (line.first_byte != used.bytes || bytes > available.bytes - used.bytes) {
    return fmt::format("first_byte {} and {} bytes; expected {} and at most {}", line.first_byte, bytes, used.bytes,
                       available.bytes - used.bytes);
  }
  if (line.first_token != used.tokens || line.n_tokens < 0 || line.n_tokens > available.tokens - used.tokens) {
    return fmt::format("first_token {} and a count of {}; expected {} and at most {}", line.first_token, line.n_tokens,
                       used.tokens, available.tokens - used.tokens);
  }
  return "";
}

// An evaluation's rows refer to each other, and its problems to those of the run.
void check_evaluation(hid_t file, const Hdf5Place& place, uint64_t file_bytes, Findings& findings, FileFacts& facts) {
  if (H5Lexists(file, "/evaluation", H5P_DEFAULT) <= 0) return;
  const auto table = [&](const char* path) {
    return open_table(file, place, table_schema(evaluation_tables(), path), file_bytes, false, findings);
  };
  const auto benchmarks = table("/evaluation/benchmarks");
  const auto scores = table("/evaluation/scores");
  const auto problems = table("/evaluation/problems");
  const auto samples = table("/evaluation/samples");
  if (!benchmarks || !scores || !problems || !samples) return;
  const auto check_row = [&](const char* path, int64_t row, int64_t value, int64_t end) {
    if (value < 0 || value >= end) findings.add(place.at(path), "row {}: {}; there are {} rows", row, value, end);
  };
  for (int64_t row = 0; const ScoreLine& line : scores->read<ScoreLine>(0, scores->lines())) {
    check_row("/evaluation/scores/benchmark", row++, line.benchmark, benchmarks->lines());
  }
  const std::unordered_set<uint64_t> keys(facts.problem_keys.begin(), facts.problem_keys.end());
  int64_t wanted = 0;
  for (int64_t row = 0; const auto& line : problems->read<EvaluatedProblemLine>(0, problems->lines())) {
    check_row("/evaluation/problems/benchmark", row, line.benchmark, benchmarks->lines());
    if (!keys.contains(line.key)) {
      findings.add(place.at("/evaluation/problems/key"), "row {}: {} is not in /problems", row, line.key);
    }
    wanted += line.samples;
    ++row;
  }
  for (int64_t row = 0; const SampleLine& line : samples->read<SampleLine>(0, samples->lines())) {
    check_row("/evaluation/samples/problem", row++, line.problem, problems->lines());
  }
  if (samples->lines() != wanted) {
    findings.add(place.at("/evaluation/samples"), "{} rows; /evaluation/problems counts {}", samples->lines(), wanted);
  }
}

}  // namespace

void check_problems(hid_t file, const Hdf5Place& place, const std::vector<TableSchema>& tables, uint64_t file_bytes,
                    bool cut, Findings& findings, FileFacts& facts) {
  const auto table = [&](const char* path) {
    return open_table(file, place, table_schema(tables, path), file_bytes, cut, findings);
  };
  const auto problems = table("/problems");  // before what its rows refer to, see check_part_tables
  const auto text = table("/problem_text");
  const auto tokens = table("/problem_tokens");
  if (!problems || !text || !tokens) return;
  const Texts available{text->lines(), tokens->lines()};
  Texts used;
  std::unordered_set<uint64_t> keys;
  for (const ProblemLine& line : problems->read<ProblemLine>(0, problems->lines())) {
    const auto row = static_cast<int64_t>(facts.problem_keys.size());
    if (const std::string wrong = check_problem(line, used, available); !wrong.empty()) {
      if (!cut) findings.add(place.at("/problems"), "row {}: {}", row, wrong);
      break;
    }
    used.bytes += line.id_bytes + line.source_bytes + line.prompt_bytes + line.answer_bytes;
    used.tokens += line.n_tokens;
    if (!keys.insert(line.key).second && facts.is_run) {
      findings.add(place.at("/problems/key"), "row {}: {} again; a problem has one row", row, line.key);
    }
    facts.problem_keys.push_back(line.key);
  }
  const auto rows = static_cast<int64_t>(facts.problem_keys.size());
  keep(*problems, rows, facts);
  keep(*text, used.bytes, facts);
  keep(*tokens, used.tokens, facts);
  if (cut || rows < problems->lines()) return;
  if (used.bytes != available.bytes) {
    findings.add(place.at("/problem_text"), "{} bytes; /problems refers to {}", available.bytes, used.bytes);
  }
  if (used.tokens != available.tokens) {
    findings.add(place.at("/problem_tokens"), "{} rows; /problems refers to {}", available.tokens, used.tokens);
  }
}

void check_run_tables(hid_t file, const Hdf5Place& place, uint64_t file_bytes, bool cut, Findings& findings,
                      InnerReport& inner) {
  FileFacts& facts = inner.facts;
  std::string contents;
  for (const std::string& name : metric_tables()) {
    if (H5Lexists(file, ("/metrics/" + name).c_str(), H5P_DEFAULT) == 0 && name == "rounds") continue;  // since 1.2
    try {
      check_metrics(file, place, name, file_bytes, cut, findings, facts, contents);
    } catch (const Error& error) {
      findings.add_line(error.what());
    }
  }
  check_problems(file, place, run_tables(), file_bytes, cut, findings, facts);
  check_ranks(file, place, file_bytes, findings, facts);
  check_evaluation(file, place, file_bytes, findings, facts);
  if (H5Lexists(file, "/parts", H5P_DEFAULT) > 0) {
    facts.links = names_in_group(file, "/parts", place);
  } else if (!cut) {
    findings.add(place.at("/parts"), "missing; a run that has ended links to its parts there");
  }
  inner.report.contents =
      fmt::format("{}{}, {}", contents, counted(facts.problem_keys.size(), "problem"), counted(facts.ranks, "rank"));
}

}  // namespace deepsearch
