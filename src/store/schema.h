// What the HDF5 files hold, in one place: tables, columns with type, units and description, and file attributes. The
// writers create the datasets from it, the readers check against it, and docs/hdf5.md is printed from it.
// The columns themselves are listed beside the structs they come from, in store/rows.h and store/metrics.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace deepsearch {

// Major: a reader of another major version would misread the file and refuses it. Minor: one more whenever a column or
// an attribute is added; nothing is removed, renamed or given another meaning. Readers accept every minor version.
inline constexpr int kSchemaMajor = 1;
inline constexpr int kSchemaMinor = 2;
inline constexpr const char* kRunSchema = "deepsearch-run";
inline constexpr const char* kPartSchema = "deepsearch-part";

enum class ColumnKind : uint8_t { kUint8, kInt32, kInt64, kUint64, kFloat32, kFloat64, kBool, kEnum, kText };

struct ColumnSchema {
  std::string name;
  ColumnKind kind = ColumnKind::kFloat64;
  size_t bytes = 8;                  // of one value; for texts the fixed length, padded with zeros
  std::vector<std::string> choices;  // kEnum: names of the values 0, 1, …; "" for a value that is not used
  std::string units;                 // "" for pure numbers
  std::string description;
  bool optional = false;  // files of earlier minor versions lack it: it reads as fill values then
  bool deflates = true;   // false: measurements to the last bit, noise that deflate hardly shrinks
  bool noise = false;     // no repeats worth searching for (store/chunk_deflate.h)
};

struct TableSchema {
  std::string path;  // "/nodes"
  std::string description;
  int64_t chunk_rows = 4096;
  int deflate = 0;  // 0: no filter; else shuffle and this level. A filtered chunk that is rewritten leaves a hole
                    // under SWMR, so small, often flushed tables have none.
  std::vector<ColumnSchema> columns;
};

struct AttributeSchema {
  std::string name;
  std::string type;
  std::string description;
  int64_t since_minor = 0;  // files of older minor versions lack it
};

const std::vector<TableSchema>& part_tables();
// The same with another deflate level where a table is deflated at all, and for tokens' measurements of so many bits.
std::vector<TableSchema> part_tables_with(int deflate, int mantissa_bits);
// run.h5's tables, /metrics with every known column.
const std::vector<TableSchema>& run_tables();
// What run.h5 of an evaluation has beside them, once it has ended.
const std::vector<TableSchema>& evaluation_tables();
const TableSchema& table_schema(const std::vector<TableSchema>& tables, const std::string& path);  // failure() if none
// A metrics table with just these columns; an unknown table or column is failure().
TableSchema metrics_schema(const std::string& table, const std::vector<std::string>& columns);

// The text of docs/hdf5.md.
std::string schema_markdown();

}  // namespace deepsearch
