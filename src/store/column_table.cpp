#include "store/column_table.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "store/file_header.h"

namespace deepsearch {
namespace {

constexpr hsize_t kMaxChunkRows = 1 << 20;
constexpr uint64_t kMaxDeflateRatio = 1040;  // deflate's limit is 1032

Hdf5Handle enum_type(const std::vector<std::string>& choices, hid_t base, const Hdf5Place& place) {
  Hdf5Handle type(H5Tenum_create(base), H5Tclose, "make an enum type", place);
  for (size_t value = 0; value < choices.size(); ++value) {
    if (choices[value].empty()) continue;
    const auto byte = static_cast<uint8_t>(value);
    check_hdf5(H5Tenum_insert(type.id(), choices[value].c_str(), &byte), "name an enum value", place);
  }
  return type;
}

// The same type; or an enum with some of ours: later minor versions have more.
bool is_type_of(hid_t stored, hid_t ours, const Hdf5Place& place) {
  const htri_t same = H5Tequal(stored, ours);
  check_hdf5(same, "compare types", place);
  if (same > 0) return true;
  if (H5Tget_class(stored) != H5T_ENUM || H5Tget_class(ours) != H5T_ENUM || H5Tget_size(stored) != 1) return false;
  const int members = H5Tget_nmembers(stored);
  for (int member = 0; member < members; ++member) {
    const std::unique_ptr<char, decltype(&H5free_memory)> name(
        H5Tget_member_name(stored, static_cast<unsigned>(member)), &H5free_memory);
    uint8_t value = 0;
    uint8_t our_value = 0;
    if (name == nullptr || H5Tget_member_value(stored, static_cast<unsigned>(member), &value) < 0) return false;
    if (H5Tenum_valueof(ours, name.get(), &our_value) < 0 || our_value != value) return false;
  }
  return members > 0;
}

Hdf5Handle copy_type(hid_t standard, const Hdf5Place& place) {
  return Hdf5Handle(H5Tcopy(standard), H5Tclose, "copy a type", place);
}

// Two chunks of cache: the one being filled must stay, or each block would be written anew. Compressed chunks pass it
// by.
size_t chunk_cache_bytes(const TableSchema& schema, size_t index, bool compressed) {
  return compressed ? 0 : 2 * static_cast<size_t>(schema.chunk_rows) * schema.columns[index].bytes;
}

// A line that is not written yet must not look like one: integers fill with −1, floats with NaN.
const void* fill_value(const ColumnSchema& column) {
  static const int64_t minus_one = -1;
  static const float nan_float = std::numeric_limits<float>::quiet_NaN();
  static const double nan_double = std::numeric_limits<double>::quiet_NaN();
  if (column.kind == ColumnKind::kInt32 || column.kind == ColumnKind::kInt64) return &minus_one;
  if (column.kind == ColumnKind::kFloat32) return &nan_float;
  if (column.kind == ColumnKind::kFloat64) return &nan_double;
  return nullptr;
}

bool is_shuffled(const ColumnSchema& column) {
  return column.bytes > 1 && column.kind != ColumnKind::kText;
}

}  // namespace

// Little-endian on disk and in memory: the program's platforms are little-endian, and one type serves both sides.
Hdf5Handle hdf5_type(const ColumnSchema& column, const Hdf5Place& place) {
  switch (column.kind) {
    case ColumnKind::kUint8:
      return copy_type(H5T_STD_U8LE, place);
    case ColumnKind::kInt32:
      return copy_type(H5T_STD_I32LE, place);
    case ColumnKind::kInt64:
      return copy_type(H5T_STD_I64LE, place);
    case ColumnKind::kUint64:
      return copy_type(H5T_STD_U64LE, place);
    case ColumnKind::kFloat32:
      return copy_type(H5T_IEEE_F32LE, place);
    case ColumnKind::kFloat64:
      return copy_type(H5T_IEEE_F64LE, place);
    case ColumnKind::kBool:
      return enum_type({"FALSE", "TRUE"}, H5T_STD_I8LE, place);  // as h5py does: reads as numpy bool
    case ColumnKind::kEnum:
      return enum_type(column.choices, H5T_STD_U8LE, place);
    case ColumnKind::kText:
      break;
  }
  Hdf5Handle type = copy_type(H5T_C_S1, place);
  check_hdf5(H5Tset_size(type.id(), column.bytes), "size a text", place);
  check_hdf5(H5Tset_cset(type.id(), H5T_CSET_UTF8), "make a text UTF-8", place);
  check_hdf5(H5Tset_strpad(type.id(), H5T_STR_NULLPAD), "pad a text", place);
  return type;
}

TableWriter::TableWriter(hid_t file, const Hdf5Place& place, TableSchema schema)
    : place_(place), schema_(std::move(schema)), columns_(schema_.columns.size()) {
  const Hdf5Place group_place = place_.at(schema_.path);
  const Hdf5Handle group = create_group(file, schema_.path, group_place);
  write_attribute(group.id(), "description", schema_.description, group_place);
  for (size_t index = 0; index < columns_.size(); ++index) create_column(group.id(), index);
}

Hdf5Place TableWriter::column_place(size_t index) const {
  return place_.at(schema_.path + "/" + schema_.columns[index].name);
}

void TableWriter::create_column(hid_t group, size_t index) {
  const ColumnSchema& schema = schema_.columns[index];
  const Hdf5Place place = column_place(index);
  Column& column = columns_[index];
  column.type = hdf5_type(schema, place);

  const hsize_t none = 0;
  const hsize_t unlimited = H5S_UNLIMITED;
  const auto chunk = static_cast<hsize_t>(schema_.chunk_rows);
  Hdf5Handle space(H5Screate_simple(1, &none, &unlimited), H5Sclose, "make a shape", place);
  Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "make properties", place);
  check_hdf5(H5Pset_chunk(creation.id(), 1, &chunk), "set the chunk size", place);
  if (const void* value = fill_value(schema); value != nullptr) {
    check_hdf5(H5Pset_fill_value(creation.id(), column.type.id(), value), "set a fill value", place);
  }
  if (is_compressed(index)) {
    if (deflater_ == nullptr) deflater_ = std::make_unique<ChunkDeflater>(schema_.deflate);
    if (is_shuffled(schema)) check_hdf5(H5Pset_shuffle(creation.id()), "set the shuffle filter", place);
    check_hdf5(H5Pset_deflate(creation.id(), static_cast<unsigned>(schema_.deflate)), "set the deflate filter", place);
  }
  Hdf5Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose, "make properties", place);
  const size_t cache_bytes = chunk_cache_bytes(schema_, index, is_compressed(index));
  check_hdf5(H5Pset_chunk_cache(access.id(), 11, cache_bytes, 1.0), "set the chunk cache", place);
  column.dataset = Hdf5Handle(
      H5Dcreate2(group, schema.name.c_str(), column.type.id(), space.id(), H5P_DEFAULT, creation.id(), access.id()),
      H5Dclose, "create a dataset", place);
  write_attribute(column.dataset.id(), "units", schema.units, place);
  write_attribute(column.dataset.id(), "description", schema.description, place);
}

void TableWriter::append_column(size_t index, const void* values, size_t bytes) {
  const char* begin = static_cast<const char*>(values);
  columns_[index].pending.insert(columns_[index].pending.end(), begin, begin + bytes);
}

bool TableWriter::is_compressed(size_t index) const {
  return schema_.deflate > 0 && schema_.columns[index].deflates;
}

void TableWriter::write_column(size_t index, int64_t last) {
  const Column& column = columns_[index];
  const Hdf5Place place = column_place(index);
  if (column.pending.size() != static_cast<size_t>(held_lines()) * schema_.columns[index].bytes) {
    failure("{}: {} bytes are held for {} lines", place.text(), column.pending.size(), held_lines());
  }
  const auto total = static_cast<hsize_t>(last);
  check_hdf5(H5Dset_extent(column.dataset.id(), &total), "extend", place);
  if (is_compressed(index)) {
    write_chunks(index, last);
  } else {
    write_lines(index, last);
  }
}

void TableWriter::write_lines(size_t index, int64_t last) {
  const Column& column = columns_[index];
  const Hdf5Place place = column_place(index);
  const auto first = static_cast<hsize_t>(written_lines_);
  const auto total = static_cast<hsize_t>(last);
  const hsize_t count = total - first;
  const char* values =
      column.pending.data() + static_cast<size_t>(written_lines_ - first_held_) * schema_.columns[index].bytes;
  Hdf5Handle memory(H5Screate_simple(1, &count, nullptr), H5Sclose, "make a shape", place);
  Hdf5Handle target(H5Screate_simple(1, &total, nullptr), H5Sclose, "make a shape", place);
  check_hdf5(H5Sselect_hyperslab(target.id(), H5S_SELECT_SET, &first, nullptr, &count, nullptr), "select lines", place);
  check_hdf5(H5Dwrite(column.dataset.id(), column.type.id(), memory.id(), target.id(), H5P_DEFAULT, values), "write",
             place);
}

// Compressed here rather than by HDF5's filters, which would search all columns for repeats.
void TableWriter::write_chunks(size_t index, int64_t last) {
  const Column& column = columns_[index];
  const ColumnSchema& schema = schema_.columns[index];
  const Hdf5Place place = column_place(index);
  const auto chunk_bytes = static_cast<size_t>(schema_.chunk_rows) * schema.bytes;
  const bool measured = schema.noise && schema_.deflate == 1;
  for (int64_t first = first_held_; first < last; first += schema_.chunk_rows) {
    const char* values = column.pending.data() + static_cast<size_t>(first - first_held_) * schema.bytes;
    std::span<const char> chunk(values, chunk_bytes);
    if (first + schema_.chunk_rows > last) {
      const auto lines = static_cast<size_t>(last - first);
      padded_.assign(values, values + lines * schema.bytes);
      padded_.resize(chunk_bytes);
      if (const void* fill = fill_value(schema); fill != nullptr) {
        for (size_t at = lines * schema.bytes; at < chunk_bytes; at += schema.bytes) {
          std::memcpy(padded_.data() + at, fill, schema.bytes);
        }
      }
      chunk = padded_;
    }
    const std::span<const uint8_t> packed = deflater_->compress(
        chunk, schema.bytes, is_shuffled(schema), measured ? ChunkCoding::kPlanes : ChunkCoding::kRepeats);
    const auto offset = static_cast<hsize_t>(first);
    check_hdf5(H5Dwrite_chunk(column.dataset.id(), H5P_DEFAULT, 0, &offset, packed.size(), packed.data()), "write",
               place);
  }
}

void TableWriter::drop_whole_chunks() {
  const int64_t lines = held_lines() / schema_.chunk_rows * schema_.chunk_rows;
  if (lines == 0) return;
  for (size_t index = 0; index < columns_.size(); ++index) {
    std::vector<char>& bytes = columns_[index].pending;
    bytes.erase(bytes.begin(), bytes.begin() + lines * static_cast<int64_t>(schema_.columns[index].bytes));
  }
  first_held_ += lines;
}

void TableWriter::write() {
  const int64_t last = first_held_ + held_lines() / schema_.chunk_rows * schema_.chunk_rows;
  if (last <= written_lines_) return;
  for (size_t index = 0; index < columns_.size(); ++index) write_column(index, last);
  written_lines_ = last;
  published_ = false;
  drop_whole_chunks();
}

void TableWriter::publish() {
  const bool is_new = written_lines_ < lines_;
  if (!is_new && published_) return;
  const size_t last = columns_.size() - 1;
  if (is_new) {
    for (size_t index = 0; index < last; ++index) write_column(index, lines_);
  }
  for (size_t index = 0; index < last; ++index) {
    check_hdf5(H5Dflush(columns_[index].dataset.id()), "flush", column_place(index));
  }
  if (is_new) write_column(last, lines_);
  check_hdf5(H5Dflush(columns_[last].dataset.id()), "flush", column_place(last));
  written_lines_ = lines_;
  published_ = true;
  drop_whole_chunks();
}

size_t TableWriter::memory_bytes() const {
  size_t bytes = 0;
  for (size_t index = 0; index < columns_.size(); ++index) {
    bytes += columns_[index].pending.capacity() + chunk_cache_bytes(schema_, index, is_compressed(index));
  }
  return bytes;
}

void TableWriter::close() {
  publish();
  for (size_t index = 0; index < columns_.size(); ++index) columns_[index].dataset.close(column_place(index));
}

TableReader::TableReader(hid_t file, const Hdf5Place& place, TableSchema schema, uint64_t file_bytes)
    : place_(place), schema_(std::move(schema)), columns_(schema_.columns.size()) {
  lines_ = std::numeric_limits<int64_t>::max();
  for (size_t index = columns_.size(); index-- > 0;) lines_ = std::min(lines_, open_column(file, index, file_bytes));
}

Hdf5Place TableReader::column_place(size_t index) const {
  return place_.at(schema_.path + "/" + schema_.columns[index].name);
}

int64_t TableReader::open_column(hid_t file, size_t index, uint64_t file_bytes) {
  const ColumnSchema& schema = schema_.columns[index];
  const Hdf5Place place = column_place(index);
  Column& column = columns_[index];
  column.lines = std::numeric_limits<int64_t>::max();
  if (schema.optional && H5Lexists(file, place.object.c_str(), H5P_DEFAULT) == 0) return column.lines;
  column.dataset = Hdf5Handle(H5Dopen2(file, place.object.c_str(), H5P_DEFAULT), H5Dclose, "open", place);
  column.type = hdf5_type(schema, place);
  Hdf5Handle type(H5Dget_type(column.dataset.id()), H5Tclose, "read the type", place);
  if (!is_type_of(type.id(), column.type.id(), place))
    bad_input("{}: the column has another type than docs/hdf5.md says", place.text());

  Hdf5Handle space(H5Dget_space(column.dataset.id()), H5Sclose, "read the shape", place);
  const int dimensions = H5Sget_simple_extent_ndims(space.id());
  check_hdf5(dimensions, "read the shape", place);
  if (dimensions != 1) bad_input("{}: {} dimensions; a column has one", place.text(), dimensions);
  hsize_t lines = 0;
  check_hdf5(H5Sget_simple_extent_dims(space.id(), &lines, nullptr), "read the length", place);

  Hdf5Handle creation(H5Dget_create_plist(column.dataset.id()), H5Pclose, "read the layout", place);
  hsize_t chunk = 0;
  if (H5Pget_layout(creation.id()) != H5D_CHUNKED || H5Pget_chunk(creation.id(), 1, &chunk) != 1 || chunk == 0 ||
      chunk > kMaxChunkRows) {
    bad_input("{}: not in chunks of 1 to {} lines", place.text(), kMaxChunkRows);
  }
  // A line that a kill left without its data counts too, hence the slack.
  const uint64_t ratio = H5Pget_nfilters(creation.id()) > 0 ? kMaxDeflateRatio : 1;
  const uint64_t limit = (file_bytes * ratio) / schema.bytes + kMaxChunkRows;
  if (lines > limit) bad_input("{}: {} lines cannot be in a file of {} bytes", place.text(), lines, file_bytes);
  column.lines = static_cast<int64_t>(lines);
  return column.lines;
}

void TableReader::check_range(int64_t first, int64_t count) const {
  if (first < 0 || count < 0 || count > lines_ || first > lines_ - count) {
    bad_input("{}: lines {} to {} are asked for, the table has {}", place_.at(schema_.path).text(), first,
              first + count - 1, lines_);
  }
}

void TableReader::check_choice(size_t index, uint8_t value) const {
  const ColumnSchema& schema = schema_.columns[index];
  const bool known =
      schema.kind == ColumnKind::kBool ? value <= 1 : value < schema.choices.size() && !schema.choices[value].empty();
  if (!known) bad_input("{}: the value {} has no meaning", column_place(index).text(), value);
}

void TableReader::read_column(size_t index, int64_t first, int64_t count, void* values) const {
  check_range(first, count);
  if (count == 0) return;
  const Column& column = columns_[index];
  if (!has_column(index)) {
    // −1 and NaN; of flags and enums their first value, "no".
    const ColumnSchema& schema = schema_.columns[index];
    const bool named = schema.kind == ColumnKind::kBool || schema.kind == ColumnKind::kEnum;
    std::memset(values, named ? 0 : 0xFF, static_cast<size_t>(count) * schema.bytes);
    return;
  }
  const Hdf5Place place = column_place(index);
  const auto start = static_cast<hsize_t>(first);
  const auto size = static_cast<hsize_t>(count);
  Hdf5Handle memory(H5Screate_simple(1, &size, nullptr), H5Sclose, "make a shape", place);
  Hdf5Handle source(H5Dget_space(column.dataset.id()), H5Sclose, "read the shape", place);
  check_hdf5(H5Sselect_hyperslab(source.id(), H5S_SELECT_SET, &start, nullptr, &size, nullptr), "select lines", place);
  check_hdf5(H5Dread(column.dataset.id(), column.type.id(), memory.id(), source.id(), H5P_DEFAULT, values), "read",
             place);
}

}  // namespace deepsearch
