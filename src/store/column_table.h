// Tables of equal-length 1-D columns in an HDF5 file: the writer holds lines in memory and writes them in chunks, the
// reader gives ranges of lines back. Internal to store/. One thread; errors name file and dataset.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "store/chunk_deflate.h"
#include "store/handles.h"
#include "store/rows.h"
#include "store/schema.h"

namespace deepsearch {

Hdf5Handle hdf5_type(const ColumnSchema& column, const Hdf5Place& place);

class TableWriter {
 public:
  // Creates group and datasets; before H5Fstart_swmr_write only.
  TableWriter(hid_t file, const Hdf5Place& place, TableSchema schema);

  template <class Line>
  void append(std::span<const Line> lines) {
    for_each_field<Line>([&]<class Owner, class T>(const Field<Owner, T>& field, size_t index) {
      std::vector<char>& bytes = columns_[index].pending;
      const size_t old_size = bytes.size();
      bytes.resize(old_size + lines.size() * sizeof(T));
      char* out = bytes.data() + old_size;
      for (const Line& line : lines) {
        std::copy_n(reinterpret_cast<const char*>(&(line.*field.member)), sizeof(T), out);
        out += sizeof(T);
      }
    });
    lines_ += static_cast<int64_t>(lines.size());
  }
  template <class Line>
  void append(const Line& line) {
    append(std::span<const Line>(&line, 1));
  }
  // Column by column: the same number of values for each, then commit_columns().
  void append_column(size_t index, const void* values, size_t bytes);
  void commit_columns(int64_t lines) { lines_ += lines; }

  int64_t lines() const { return lines_; }
  int64_t held_lines() const { return lines_ - first_held_; }
  const TableSchema& schema() const { return schema_; }
  size_t memory_bytes() const;  // lines held and chunk caches

  void write();  // whole chunks into HDF5, not necessarily to the file
  // Everything to the file, the last column after all others: a reader that goes by the last column's length sees only
  // whole lines.
  void publish();
  void close();  // publishes first

 private:
  struct Column {
    Hdf5Handle dataset;
    Hdf5Handle type;
    std::vector<char> pending;  // lines first_held_ to lines_ - 1
  };
  Hdf5Place column_place(size_t index) const;
  bool is_compressed(size_t index) const;
  void create_column(hid_t group, size_t index);
  // Lines written_lines_ to last - 1.
  void write_column(size_t index, int64_t last);
  void write_lines(size_t index, int64_t last);
  void write_chunks(size_t index, int64_t last);
  void drop_whole_chunks();
  Hdf5Place place_;
  TableSchema schema_;
  std::vector<Column> columns_;
  std::unique_ptr<ChunkDeflater> deflater_;  // when a column is compressed
  std::vector<char> padded_;
  int64_t lines_ = 0;
  int64_t written_lines_ = 0;
  int64_t first_held_ = 0;  // of a chunk: the last one is held until it is whole, and written anew until then
  bool published_ = true;
};

class TableReader {
 public:
  // Opens every column, the last one first (see TableWriter::publish), and checks types. `file_bytes` bounds the
  // lengths that are believed: deflate shrinks at most about a thousandfold.
  TableReader(hid_t file, const Hdf5Place& place, TableSchema schema, uint64_t file_bytes);

  int64_t lines() const { return lines_; }                                           // of the shortest column
  bool has_column(size_t index) const { return columns_[index].dataset.id() >= 0; }  // only optional ones may lack
  int64_t column_lines(size_t index) const { return has_column(index) ? columns_[index].lines : lines_; }

  // Lines first … first + count − 1; out of range or an undefined enum value is bad input.
  template <class Line>
  std::vector<Line> read(int64_t first, int64_t count) const {
    check_range(first, count);
    std::vector<Line> lines(static_cast<size_t>(count));
    for_each_field<Line>([&]<class Owner, class T>(const Field<Owner, T>& field, size_t index) {
      // bool and enums pass through bytes, so that a damaged file cannot make values that do not exist.
      using Stored = std::conditional_t<std::is_same_v<T, bool> || std::is_enum_v<T>, uint8_t, T>;
      std::vector<Stored> values(static_cast<size_t>(count));
      read_column(index, first, count, values.data());
      for (size_t i = 0; i < values.size(); ++i) {
        if constexpr (std::is_same_v<T, Stored>) {
          lines[i].*field.member = values[i];
        } else {
          check_choice(index, values[i]);
          lines[i].*field.member = static_cast<T>(values[i]);
        }
      }
    });
    return lines;
  }
  // One column; `values` holds count values of its stored type.
  void read_column(size_t index, int64_t first, int64_t count, void* values) const;
  void check_range(int64_t first, int64_t count) const;
  const Hdf5Place& place() const { return place_; }
  const TableSchema& schema() const { return schema_; }

 private:
  struct Column {
    Hdf5Handle dataset;
    Hdf5Handle type;
    int64_t lines = 0;
  };
  Hdf5Place column_place(size_t index) const;
  int64_t open_column(hid_t file, size_t index, uint64_t file_bytes);
  void check_choice(size_t index, uint8_t value) const;
  Hdf5Place place_;
  TableSchema schema_;
  std::vector<Column> columns_;
  int64_t lines_ = 0;
};

}  // namespace deepsearch
