#include "model/safetensors.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <span>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "core/error.h"
#include "model/json_reader.h"

namespace deepsearch {

namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kMaxRank = 16;
constexpr int kMaxDepth = 3;  // header, tensor, shape

// Bytes of one element; 0 for a name the format does not know.
uint64_t dtype_bytes(const std::string& dtype) {
  static const std::map<std::string, uint64_t> kBytes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
      {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"F64", 8},     {"I64", 8}, {"U64", 8}};
  const auto found = kBytes.find(dtype);
  return found == kBytes.end() ? 0 : found->second;
}

uint64_t unsigned_at(const json& value, const std::string& where, const char* what) {
  if (!value.is_number_unsigned())
    bad_input("{}: {} must hold whole numbers from 0, found {}", where, what, shown(value));
  return value.get<uint64_t>();
}

SafetensorsEntry parse_entry(const json& value, uint64_t data_bytes, const std::string& where) {
  if (!value.is_object()) bad_input("{}: must be an object with dtype, shape and data_offsets", where);
  for (const auto& [key, unused] : value.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      bad_input("{}: unknown key {} (known: dtype, shape, data_offsets)", where, shown(key));
    }
  }
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!value.contains(key)) bad_input("{}: key \"{}\" is missing", where, key);
  }
  SafetensorsEntry entry;
  const json& dtype = value.at("dtype");
  if (!dtype.is_string()) bad_input("{}: dtype must be a string, found {}", where, shown(dtype));
  entry.dtype = dtype.get<std::string>();
  uint64_t bytes = dtype_bytes(entry.dtype);
  if (bytes == 0) bad_input("{}: unknown dtype {}", where, shown(dtype));

  const json& offsets = value.at("data_offsets");
  if (!offsets.is_array() || offsets.size() != 2) bad_input("{}: data_offsets must be [begin, end]", where);
  entry.begin = unsigned_at(offsets[0], where, "data_offsets");
  entry.end = unsigned_at(offsets[1], where, "data_offsets");
  if (entry.begin > entry.end || entry.end > data_bytes) {
    bad_input("{}: data_offsets [{}, {}] do not lie inside the file's {} bytes of data (truncated?)", where,
              entry.begin, entry.end, data_bytes);
  }

  const json& shape = value.at("shape");
  if (!shape.is_array() || shape.size() > kMaxRank)
    bad_input("{}: shape must be a list of at most {} sizes", where, kMaxRank);
  bool overflow = false;
  for (const json& item : shape) {
    const uint64_t size = unsigned_at(item, where, "shape");
    // A size alone may exceed the data only where another one is 0; such a tensor is of no use, so both are refused.
    overflow = overflow || size > data_bytes || __builtin_mul_overflow(bytes, size, &bytes);
    entry.shape.push_back(static_cast<int64_t>(std::min<uint64_t>(size, INT64_MAX)));
  }
  if (overflow || bytes != entry.end - entry.begin) {
    bad_input("{}: shape {} of {} does not fill data_offsets [{}, {}], {} bytes", where, shape_text(entry.shape),
              entry.dtype, entry.begin, entry.end, entry.end - entry.begin);
  }
  return entry;
}

// The format allows neither gaps nor overlaps nor bytes after the last tensor.
void check_layout(const std::map<std::string, SafetensorsEntry>& entries, uint64_t data_bytes,
                  const std::string& file) {
  std::vector<std::pair<const std::string*, const SafetensorsEntry*>> order;
  order.reserve(entries.size());
  for (const auto& [name, entry] : entries) order.emplace_back(&name, &entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  uint64_t expected = 0;
  for (const auto& [name, entry] : order) {
    if (entry->begin != expected) {
      bad_input("{}: tensor {}: data begins at byte {}, but {} at byte {}", file, shown(*name), entry->begin,
                entry->begin < expected ? "the tensor before it ends" : "nothing fills the gap", expected);
    }
    expected = entry->end;
  }
  if (expected != data_bytes) {
    bad_input("{}: the tensors fill {} bytes, the file holds {} after its header", file, expected, data_bytes);
  }
}

}  // namespace

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) bad_input("{}: {}", path.string(), std::strerror(errno));
  struct stat status {};
  const bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  size_ = regular ? static_cast<uint64_t>(status.st_size) : 0;
  void* mapped = MAP_FAILED;
  if (size_ >= kLengthBytes) mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
  const int map_error = errno;
  ::close(file);
  if (!regular) bad_input("{}: not a regular file", path.string());
  if (size_ < kLengthBytes)
    bad_input("{}: {} bytes; a safetensors file has at least {}", path.string(), size_, kLengthBytes);
  if (mapped == MAP_FAILED) failure("{}: cannot be mapped into memory: {}", path.string(), std::strerror(map_error));
  bytes_ = static_cast<const std::byte*>(mapped);
  try {
    parse_header();
  } catch (...) {  // the destructor does not run for a half-made object
    ::munmap(mapped, size_);
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() {
  ::munmap(const_cast<std::byte*>(bytes_), size_);
}

void SafetensorsFile::parse_header() {
  const std::string file = path_.string();
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes_, kLengthBytes);
  if (header_bytes > kMaxHeaderBytes) {
    bad_input("{}: header of {} bytes; the format allows {} (is this a safetensors file?)", file, header_bytes,
              kMaxHeaderBytes);
  }
  if (header_bytes > size_ - kLengthBytes) {
    bad_input("{}: header of {} bytes in a file of {} (truncated?)", file, header_bytes, size_);
  }
  data_begin_ = kLengthBytes + header_bytes;
  const uint64_t data_bytes = size_ - data_begin_;
  const char* text = reinterpret_cast<const char*>(bytes_) + kLengthBytes;
  const json header = parse_strict({text, header_bytes}, kMaxDepth, file + ": header");
  if (!header.is_object()) bad_input("{}: header must be a JSON object", file);
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      entries_.emplace(name, parse_entry(value, data_bytes, fmt::format("{}: tensor {}", file, shown(name))));
      continue;
    }
    if (!value.is_object()) bad_input("{}: __metadata__ must be an object", file);
    for (const auto& [key, text_value] : value.items()) {
      if (!text_value.is_string()) bad_input("{}: __metadata__: {} must be a string", file, shown(key));
      metadata_.emplace(key, text_value.get<std::string>());
    }
  }
  check_layout(entries_, data_bytes, file);
}

TensorView SafetensorsFile::view(const std::string& name, const std::vector<int64_t>& shape) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    bad_input("{}: tensor \"{}\" is missing (expected shape {})", path_.string(), name, shape_text(shape));
  }
  const SafetensorsEntry& entry = found->second;
  if (entry.shape != shape) {
    bad_input("{}: tensor \"{}\" has shape {}, expected {}", path_.string(), name, shape_text(entry.shape),
              shape_text(shape));
  }
  const std::optional<DType> type = dtype_of(entry.dtype);
  if (!type) {
    bad_input("{}: tensor \"{}\" has dtype {}, expected F32, BF16 or F16", path_.string(), name, entry.dtype);
  }
  return {.name = &found->first,
          .type = *type,
          .shape = entry.shape,
          .data = bytes_ + data_begin_ + entry.begin,
          .count = static_cast<int64_t>(entry.end - entry.begin) / bytes_of(*type)};
}

HostTensor SafetensorsFile::read(const std::string& name, const std::vector<int64_t>& shape) const {
  constexpr size_t kChunk = size_t{1} << 18;  // values: enough that giving their pages back costs nothing
  const TensorView tensor = view(name, shape);
  const auto count = static_cast<size_t>(tensor.count);
  const auto width = static_cast<size_t>(bytes_of(tensor.type));
  HostTensor host{.name = name, .shape = shape, .values = std::vector<float>(count)};
  for (size_t first = 0; first < count; first += kChunk) {
    const std::span<float> part = std::span(host.values).subspan(first, std::min(kChunk, count - first));
    tensor.read(static_cast<int64_t>(first), part);
    drop_pages(tensor.data + first * width, part.size() * width);
  }
  return host;
}

void SafetensorsFile::drop_pages(const std::byte* begin, uint64_t bytes) const {
  if (bytes == 0) return;
  static const auto kPage = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  // Outwards: a neighbour's bytes on the first and the last page are read again when they are wanted. The mapping is
  // read-only, so nothing can be lost.
  const auto offset = static_cast<uint64_t>(begin - bytes_);
  const uint64_t first = offset / kPage * kPage;
  const uint64_t end = std::min(offset + bytes, size_);
  ::madvise(const_cast<std::byte*>(bytes_) + first, end - first, MADV_DONTNEED);  // advice: a refusal costs only memory
}

}  // namespace deepsearch
