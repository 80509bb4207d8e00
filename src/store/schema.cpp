#include "store/schema.h"

#include <fmt/format.h>

#include "core/error.h"
#include "store/evaluation_rows.h"
#include "store/file_header.h"
#include "store/metrics.h"
#include "store/rows.h"

namespace deepsearch {
namespace {

// Chunk sizes: a few hundred small trees or one large one. Compression level 1: level 4 gains a few per cent and takes
// twice the time.
template <class Line>
TableSchema table(const char* path, const char* description, int64_t chunk_rows, int deflate) {
  return TableSchema{path, description, chunk_rows, deflate, columns_of<Line>()};
}

std::string type_name(const ColumnSchema& column) {
  switch (column.kind) {
    case ColumnKind::kUint8:
      return "uint8";
    case ColumnKind::kInt32:
      return "int32";
    case ColumnKind::kInt64:
      return "int64";
    case ColumnKind::kUint64:
      return "uint64";
    case ColumnKind::kFloat32:
      return "float32";
    case ColumnKind::kFloat64:
      return "float64";
    case ColumnKind::kBool:
      return "bool";
    case ColumnKind::kText:
      return fmt::format("text[{}]", column.bytes);
    case ColumnKind::kEnum:
      break;
  }
  std::string text = "enum uint8:";
  for (size_t value = 0; value < column.choices.size(); ++value) {
    if (!column.choices[value].empty()) text += fmt::format(" {} {},", value, column.choices[value]);
  }
  text.pop_back();
  return text;
}

void print_table(std::string& out, const TableSchema& table) {
  out += fmt::format("\n### {}\n\n{}.\n\n| column | type | units | meaning |\n|---|---|---|---|\n", table.path,
                     table.description);
  for (const ColumnSchema& column : table.columns) {
    out += fmt::format("| {} | {} | {} | {} |\n", column.name, type_name(column), column.units, column.description);
  }
}

void print_attributes(std::string& out, const std::vector<AttributeSchema>& attributes) {
  out += "\n| attribute | type | meaning |\n|---|---|---|\n";
  for (const AttributeSchema& attribute : attributes) {
    out += fmt::format("| {} | {} | {} |\n", attribute.name, attribute.type, attribute.description);
  }
}

constexpr const char* kIntroduction = R"(# The HDF5 files of a run

This file is printed from the schema in `src/store` (`schema_markdown()`); a test compares the two. To renew it:
`DEEPSEARCH_UPDATE_DOCS=1 test_store --gtest_filter='*Markdown*'`.

```
runs/NAME/run.h5                       metrics, problems, ranks; links to the parts once the run has ended
runs/NAME/parts/s0003-a01-0002.h5      trees of search rank 3, first attempt, second part of that attempt
```

A table is a group; its columns are 1-D datasets of equal length, each with the attributes `units` and `description`.
Row i of a table is element i of every column. `/nodes` of tree t are rows `first_node[t]` to `first_node[t] +
n_nodes[t] - 1`; tokens, recorded trajectories and events likewise; node ids (`parent`, `leaf`, `node`) count from the
tree's `first_node`.

Reading with nothing but h5py and pandas, also while the run goes on or after it was killed (`swmr=True` is what makes
that possible; without it HDF5 refuses a file whose writer has not closed it):

```python
import h5py, pandas

with h5py.File("runs/NAME/run.h5", "r", swmr=True) as run:
    learner = run["metrics/learner"]
    n = min(len(column) for column in learner.values())
    print(pandas.DataFrame({name: column[:n] for name, column in learner.items()}))

with h5py.File("runs/NAME/parts/s0000-a01-0001.h5", "r", swmr=True) as part:
    n = len(part["trees/n_events"])          # the column that is published last
    trees = pandas.DataFrame({name: column[:n] for name, column in part["trees"].items()})
    first, count = trees.first_node[0], trees.n_nodes[0]
    print(part["nodes/value"][first : first + count])
```

Live files and kills: one process writes a file, appends only, and never reopens a part. A file gets its name when its
tables exist. Children (`/problems`, `/tokens`, `/nodes`, `/recorded`, `/events`) reach the file before the `/trees` rows
that refer to them, and `trees/n_events` last, so a reader that goes by its length finds everything a row refers to. A
kill costs the rows since the last flush. Columns of a killed file may differ in length: the common prefix is valid.

Types: little-endian. `bool` is h5py's (an enum FALSE, TRUE of int8, read as numpy bool). An enum reads as its number;
`h5py.check_enum_dtype` gives the names, and h5dump prints them. `text[N]` is UTF-8 of at most N bytes, padded with
zeros; h5py reads it as bytes (`column.asstr()`, `attribute.decode()`). Files are written in the format of HDF5 1.10.
The large tables are shuffled and deflated ([store].compression), all but their float64 columns; at level 1 /tokens
without deflate's search for repeats, which costs most of the time and finds none (src/store/chunk_deflate.h). Of the log-probabilities
and entropies in /tokens, [store].mantissa_bits bits of the mantissa are kept, rounded to nearest: with the default 12 a
relative error of at most 2^-13 = 0.00013 (learning uses the exact values). A flush
rewrites the last chunk of each compressed column, and in a file that others read the old copy stays: a part that is
flushed after every tree is several times larger. Links in run.h5 to a part that was killed open with `swmr=True` only.

Versions: `schema` says which kind of file it is and `schema_version` is (major, minor). A reader refuses another kind
and another major version. A minor version adds columns, attributes or values of enums and changes nothing else: a program
accepts every minor version, passes over what it does not know, and does without what an older file lacks. 1.1 added the
attributes hosts, libraries, mended, level and mantissa_bits, 1.2 the tables of /evaluation, /metrics/rounds, the kinds
replay and branch of trees, and /recorded/cached and dropped. Metrics columns need no version, since every run may have
its own.

Checking: `deepsearch check RUN` compares a run's files with this schema and each other, also while the run goes on; a
line a finding, exit code 2 if there is any. `deepsearch check --repair RUN` writes files of killed writers anew without
what is not whole, marks them as ended, and lets them take the old files' names. A live writer holds a shared lock on byte
2^62 of its file (F_OFD_SETLK), which tells it from a killed one.
)";

}  // namespace

const std::vector<TableSchema>& part_tables() {
  static const std::vector<TableSchema> tables = [] {
    std::vector<TableSchema> all = {
        table<TreeLine>("/trees", "one row a finished tree or group of rollouts", 512, 0),
        table<NodeLine>("/nodes", "the nodes of all trees, tree after tree, in order of creation", 4096, 1),
        table<TokenLine>("/tokens", "the tokens of all nodes, tree after tree", 16384, 1),
        table<RecordedLine>("/recorded", "the trajectories picked for training, in order of recording", 2048, 1),
        table<EventLine>("/events", "the search's own diary", 4096, 1),
        table<ProblemLine>("/problems", "the problems of this part's trees, each once", 256, 1),
        table<ProblemTextLine>("/problem_text", "the whole texts of /problems", 65536, 1),
        table<ProblemTokenLine>("/problem_tokens", "the prompts of /problems as tokens", 16384, 1)};
    for (TableSchema& one : all) {
      for (ColumnSchema& column : one.columns) {
        column.noise = one.path == "/tokens";
        column.optional = (one.path == "/tokens" && column.name == "policy_version") ||
                          (one.path == "/recorded" && (column.name == "cached" || column.name == "dropped"));
      }
    }
    return all;
  }();
  return tables;
}

std::vector<TableSchema> part_tables_with(int deflate, int mantissa_bits) {
  std::vector<TableSchema> tables = part_tables();
  for (TableSchema& table : tables) {
    if (table.deflate > 0) table.deflate = deflate;
    for (ColumnSchema& column : table.columns) {
      if (column.kind == ColumnKind::kFloat32) column.deflates = mantissa_bits <= 16;
      if (column.kind == ColumnKind::kFloat64) column.deflates = false;
    }
  }
  return tables;
}

const std::vector<TableSchema>& run_tables() {
  static const std::vector<TableSchema> tables = [] {
    std::vector<TableSchema> all;
    for (const std::string& name : metric_tables()) all.push_back(metrics_schema(name, metric_columns(name)));
    all.push_back(table<RunProblemLine>("/problems", "the problems of the run, each once", 256, 1));
    all.push_back(table<ProblemTextLine>("/problem_text", "the whole texts of /problems", 65536, 1));
    all.push_back(table<ProblemTokenLine>("/problem_tokens", "the prompts of /problems as tokens", 16384, 1));
    all.push_back(table<RankLine>("/ranks", "who was where in this attempt", 64, 0));
    return all;
  }();
  return tables;
}

const std::vector<TableSchema>& evaluation_tables() {
  static const std::vector<TableSchema> tables = {
      table<BenchmarkLine>("/evaluation/benchmarks", "the benchmarks of an evaluation", 64, 0),
      table<ScoreLine>("/evaluation/scores", "what they came to", 256, 0),
      table<EvaluatedProblemLine>("/evaluation/problems", "their problems, benchmark after benchmark", 1024, 1),
      table<SampleLine>("/evaluation/samples", "the responses, problem after problem", 4096, 1)};
  return tables;
}

const TableSchema& table_schema(const std::vector<TableSchema>& tables, const std::string& path) {
  for (const TableSchema& candidate : tables) {
    if (candidate.path == path) return candidate;
  }
  failure("no table '{}' in the HDF5 schema", path);
}

std::string schema_markdown() {
  std::string out = kIntroduction;
  out += fmt::format("\nThis is version {}.{}.\n\n## run.h5 (`schema` = \"{}\")\n", kSchemaMajor, kSchemaMinor,
                     kRunSchema);
  print_attributes(out, run_attributes());
  out += "\nOnce the run has ended, the group `/parts` holds an external link to each part, by its file name.\n";
  for (const TableSchema& run_table : run_tables()) print_table(out, run_table);
  out +=
      "\nAn evaluation (`deepsearch evaluate`, docs/evaluate.md) that has ended has these too; the responses' tokens "
      "are in its parts.\n";
  for (const TableSchema& evaluation_table : evaluation_tables()) print_table(out, evaluation_table);
  out += fmt::format("\n## parts/*.h5 (`schema` = \"{}\")\n", kPartSchema);
  print_attributes(out, part_attributes());
  for (const TableSchema& part_table : part_tables()) print_table(out, part_table);
  out += "\nA metrics table may have fewer of its columns than are listed, and any of the others' columns.\n";
  return out;
}

}  // namespace deepsearch
