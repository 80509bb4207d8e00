#include "model/safetensors.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace deepsearch {

// Values are copied between file and memory as they are.
static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

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

float widen_bf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

float widen_f16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1FU;
  const uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 0) {  // zero or subnormal: mantissa · 2^−24, exact in fp32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 0x1FU ? 0xFFU : exponent + 112U;  // bias 15 → 127
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

// The header as JSON. nlohmann keeps the last of two equal keys and takes any depth; both are refused here while it
// parses, so that a small file cannot grow into a deep document.
json parse_strict(const char* begin, const char* end, const std::string& where) {
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start) {
      if (depth >= kMaxDepth) bad_input("{}: header: nested more than {} levels deep", where, kMaxDepth);
      keys.emplace_back();
    } else if (event == json::parse_event_t::object_end || event == json::parse_event_t::array_end) {
      keys.pop_back();
    } else if (event == json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) bad_input("{}: header: \"{}\" appears twice", where, key);
    }
    return true;
  };
  try {
    return json::parse(begin, end, check);
  } catch (const json::exception& error) {
    bad_input("{}: header is not JSON: {}", where, error.what());
  }
}

uint64_t unsigned_at(const json& value, const std::string& where, const char* what) {
  if (!value.is_number_unsigned())
    bad_input("{}: {} must hold whole numbers from 0, found {}", where, what, value.dump());
  return value.get<uint64_t>();
}

SafetensorsEntry parse_entry(const json& value, uint64_t data_bytes, const std::string& where) {
  if (!value.is_object()) bad_input("{}: must be an object with dtype, shape and data_offsets", where);
  for (const auto& [key, unused] : value.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      bad_input("{}: unknown key \"{}\" (known: dtype, shape, data_offsets)", where, key);
    }
  }
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!value.contains(key)) bad_input("{}: key \"{}\" is missing", where, key);
  }
  SafetensorsEntry entry;
  const json& dtype = value.at("dtype");
  if (!dtype.is_string()) bad_input("{}: dtype must be a string, found {}", where, dtype.dump());
  entry.dtype = dtype.get<std::string>();
  uint64_t bytes = dtype_bytes(entry.dtype);
  if (bytes == 0) bad_input("{}: unknown dtype \"{}\"", where, entry.dtype);

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
      bad_input("{}: tensor \"{}\": data begins at byte {}, but {} at byte {}", file, *name, entry->begin,
                entry->begin < expected ? "the tensor before it ends" : "nothing fills the gap", expected);
    }
    expected = entry->end;
  }
  if (expected != data_bytes) {
    bad_input("{}: the tensors fill {} bytes, the file holds {} after its header", file, expected, data_bytes);
  }
}

}  // namespace

std::string shape_text(const std::vector<int64_t>& shape) {
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
  bytes_ = static_cast<const unsigned char*>(mapped);
  try {
    parse_header();
  } catch (...) {  // the destructor does not run for a half-made object
    ::munmap(mapped, size_);
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() {
  ::munmap(const_cast<unsigned char*>(bytes_), size_);
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
  const json header = parse_strict(text, text + header_bytes, file);
  if (!header.is_object()) bad_input("{}: header must be a JSON object", file);
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      entries_.emplace(name, parse_entry(value, data_bytes, fmt::format("{}: tensor \"{}\"", file, name)));
      continue;
    }
    if (!value.is_object()) bad_input("{}: __metadata__ must be an object", file);
    for (const auto& [key, text_value] : value.items()) {
      if (!text_value.is_string()) bad_input("{}: __metadata__: \"{}\" must be a string", file, key);
      metadata_.emplace(key, text_value.get<std::string>());
    }
  }
  check_layout(entries_, data_bytes, file);
}

HostTensor SafetensorsFile::read(const std::string& name, const std::vector<int64_t>& shape) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    bad_input("{}: tensor \"{}\" is missing (expected shape {})", path_.string(), name, shape_text(shape));
  }
  const SafetensorsEntry& entry = found->second;
  if (entry.shape != shape) {
    bad_input("{}: tensor \"{}\" has shape {}, expected {}", path_.string(), name, shape_text(entry.shape),
              shape_text(shape));
  }
  HostTensor tensor{.name = name, .shape = shape, .values = {}};
  const unsigned char* data = bytes_ + data_begin_ + entry.begin;
  const uint64_t bytes = entry.end - entry.begin;
  if (entry.dtype == "F32") {
    tensor.values.resize(bytes / sizeof(float));
    if (bytes != 0) std::memcpy(tensor.values.data(), data, bytes);
  } else if (entry.dtype == "BF16" || entry.dtype == "F16") {
    const auto widen = entry.dtype == "BF16" ? widen_bf16 : widen_f16;
    tensor.values.resize(bytes / sizeof(uint16_t));
    for (size_t i = 0; i < tensor.values.size(); ++i) {
      uint16_t bits = 0;
      std::memcpy(&bits, data + i * sizeof(bits), sizeof(bits));
      tensor.values[i] = widen(bits);
    }
  } else {
    bad_input("{}: tensor \"{}\" has dtype {}, expected F32, BF16 or F16", path_.string(), name, entry.dtype);
  }
  return tensor;
}

namespace {

std::string make_header(const std::vector<HostTensor>& tensors) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};  // transformers refuses a file without it
  uint64_t offset = 0;
  for (const HostTensor& tensor : tensors) {
    uint64_t count = 1;
    for (const int64_t size : tensor.shape) count *= static_cast<uint64_t>(size);
    if (count != tensor.values.size()) {
      failure("tensor \"{}\" of shape {} holds {} values", tensor.name, shape_text(tensor.shape), tensor.values.size());
    }
    if (header.contains(tensor.name)) failure("tensor \"{}\" appears twice", tensor.name);
    const uint64_t end = offset + count * sizeof(float);
    header[tensor.name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

// A file under a temporary name that disappears again unless it is published.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& path)
      : path_(path), temporary_(path.string() + ".tmp-" + std::to_string(::getpid())) {
    file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file_ < 0) give_up("cannot be created");
  }
  ~TemporaryFile() {
    if (file_ >= 0) ::close(file_);
    if (!published_) ::unlink(temporary_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(const void* data, size_t bytes) {
    const char* next = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t written = ::write(file_, next, bytes);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) give_up("cannot be written");
      next += written;
      bytes -= static_cast<size_t>(written);
    }
  }

  void publish() {
    if (::fsync(file_) != 0) give_up("cannot be flushed to disk");
    if (::close(std::exchange(file_, -1)) != 0) give_up("cannot be closed");
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) give_up("cannot be put in place");
    published_ = true;
    sync_folder(path_.has_parent_path() ? path_.parent_path() : std::filesystem::path("."));
  }

 private:
  // The user must act (space, permissions), so this is bad input in the sense of core/files.h.
  [[noreturn]] void give_up(const char* what) const {
    bad_input("{}: {}: {}", path_.string(), what, std::strerror(errno));
  }

  std::filesystem::path path_;
  std::string temporary_;
  int file_ = -1;
  bool published_ = false;
};

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::vector<HostTensor>& tensors) {
  const std::string header = make_header(tensors);
  const uint64_t header_bytes = header.size();
  TemporaryFile file(path);
  file.write(&header_bytes, sizeof(header_bytes));
  file.write(header.data(), header.size());
  for (const HostTensor& tensor : tensors) file.write(tensor.values.data(), tensor.values.size() * sizeof(float));
  file.publish();
}

}  // namespace deepsearch
