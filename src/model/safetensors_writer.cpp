#include <algorithm>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
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

std::string_view bytes_at(const void* data, size_t n) {
  return {static_cast<const char*>(data), n};
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorShape> tensors,
                                     DType type)
    : tensors_(tensors.begin(), tensors.end()), type_(type) {
  if (type != DType::kF32 && type != DType::kBF16) failure("{} is not written", safetensors_name(type));
  const std::string header = make_header(tensors, type);
  const uint64_t header_bytes = header.size();
  file_ = std::make_unique<AtomicFile>(path);
  file_->write(bytes_at(&header_bytes, sizeof(header_bytes)));
  file_->write(header);
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
    file_->write(bytes_at(tensor.data, static_cast<size_t>(tensor.count * bytes_of(type_))));
    return;
  }
  constexpr int64_t kChunk = int64_t{1} << 18;  // values
  std::vector<float> wide(static_cast<size_t>(std::min(kChunk, tensor.count)));
  std::vector<uint16_t> narrow(type_ == DType::kF32 ? 0 : wide.size());
  for (int64_t first = 0; first < tensor.count; first += kChunk) {
    const std::span<float> part = std::span(wide).first(static_cast<size_t>(std::min(kChunk, tensor.count - first)));
    tensor.read(first, part);
    if (type_ == DType::kF32) {
      file_->write(bytes_at(part.data(), part.size_bytes()));
    } else {
      std::ranges::transform(part, narrow.begin(), narrow_bf16);
      file_->write(bytes_at(narrow.data(), part.size() * sizeof(uint16_t)));
    }
  }
}

void SafetensorsWriter::publish() {
  if (next_ != tensors_.size()) failure("{} of {} announced tensors were written", next_, tensors_.size());
  file_->publish();
}

}  // namespace deepsearch
