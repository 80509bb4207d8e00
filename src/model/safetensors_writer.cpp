#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "model/safetensors.h"

namespace deepsearch {

namespace {

uint64_t bytes_in(const TensorShape& tensor, DType type) {
  auto bytes = static_cast<uint64_t>(bytes_of(type));
  for (const int64_t size : tensor.shape) bytes *= static_cast<uint64_t>(size);
  return bytes;
}

std::string make_header(std::span<const TensorShape> tensors, DType type) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};  // transformers refuses a file without it
  uint64_t offset = 0;
  for (const TensorShape& tensor : tensors) {
    if (header.contains(tensor.name)) failure("tensor \"{}\" appears twice", tensor.name);
    const uint64_t end = offset + bytes_in(tensor, type);
    header[tensor.name] = {{"dtype", safetensors_name(type)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

// A file under a temporary name that disappears again unless it is published.
class SafetensorsWriter::File {
 public:
  explicit File(const std::filesystem::path& path)
      : path_(path), temporary_(path.string() + ".tmp-" + std::to_string(::getpid())) {
    file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file_ < 0) give_up("cannot be created");
  }
  ~File() {
    if (file_ >= 0) ::close(file_);
    if (!published_) ::unlink(temporary_.c_str());
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

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

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorShape> tensors,
                                     DType type)
    : tensors_(tensors.begin(), tensors.end()), type_(type) {
  if (type != DType::kF32 && type != DType::kBF16) failure("{} is not written", safetensors_name(type));
  const std::string header = make_header(tensors, type);
  const uint64_t header_bytes = header.size();
  file_ = std::make_unique<File>(path);
  file_->write(&header_bytes, sizeof(header_bytes));
  file_->write(header.data(), header.size());
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::append(const TensorView& tensor) {
  if (next_ == tensors_.size()) failure("{} tensors were announced; \"{}\" is one more", next_, *tensor.name);
  const TensorShape& expected = tensors_[next_++];
  const auto count = static_cast<int64_t>(bytes_in(expected, DType::kF32) / sizeof(float));
  if (!std::ranges::equal(tensor.shape, expected.shape) || tensor.count != count) {
    failure("tensor \"{}\" is {} with {} values, announced was {}", expected.name, shape_text(tensor.shape),
            tensor.count, shape_text(expected.shape));
  }
  if (tensor.type == type_) {
    file_->write(tensor.data, static_cast<size_t>(tensor.count * bytes_of(type_)));
    return;
  }
  constexpr int64_t kChunk = int64_t{1} << 18;  // values
  std::vector<float> wide(static_cast<size_t>(std::min(kChunk, tensor.count)));
  std::vector<uint16_t> narrow(type_ == DType::kF32 ? 0 : wide.size());
  for (int64_t first = 0; first < tensor.count; first += kChunk) {
    const std::span<float> part = std::span(wide).first(static_cast<size_t>(std::min(kChunk, tensor.count - first)));
    tensor.read(first, part);
    if (type_ == DType::kF32) {
      file_->write(part.data(), part.size_bytes());
    } else {
      std::ranges::transform(part, narrow.begin(), narrow_bf16);
      file_->write(narrow.data(), part.size() * sizeof(uint16_t));
    }
  }
}

void SafetensorsWriter::publish() {
  if (next_ != tensors_.size()) failure("{} of {} announced tensors were written", next_, tensors_.size());
  file_->publish();
}

}  // namespace deepsearch
